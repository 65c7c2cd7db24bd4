# SPDX-License-Identifier: Apache-2.0
# element: literal
# task: base
# phase: common
# order: 5
# Values as PowerShell literals, for the script that this one writes.

# Between single quotes nothing is code but the quote, and PowerShell takes the
# typographic ones (U+2018 to U+201B) for it as well: each of them is doubled.
function ConvertTo-Literal([string]$Text) {
    return "'" + [regex]::Replace($Text, "['\u2018\u2019\u201a\u201b]", '$0$0') + "'"
}
