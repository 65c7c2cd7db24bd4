# SPDX-License-Identifier: Apache-2.0
# element: network-map
# task: network
# phase: common
# order: 50
# needs: log links
# Which NIC of the source is which interface now, and how it shall be called.

# The map, in STATE so that later phases see it: mac old now
NETWORK_MAP=$STATE/second.d/network-map
