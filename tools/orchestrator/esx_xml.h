/* SPDX-License-Identifier: Apache-2.0 */
/* A vm as a new domain for libvirt's esx driver, which makes a VMX of it. */
#ifndef ORCH_ESX_XML_H
#define ORCH_ESX_XML_H

#include "vm.h"

/** The caller owns it. */
char *esx_domain_xml(const struct vm *vm);

#endif
