# SPDX-License-Identifier: Apache-2.0
# element: tools-keep
# task: tools-install
# phase: prepare
# order: 40
# needs: core change
# variable: TOOLS_PACKAGE -- package of the target's tools in the guest, .msi or .exe
# Keeps the package at hand: the drive that it lies on may not move along.

$ToolsPackage = @TOOLS_PACKAGE@

function element_tools_keep {
    if (-not (Test-Path -LiteralPath $ToolsPackage -PathType Leaf)) {
        throw ('tools_package: {0}: is not in this guest' -f $ToolsPackage)
    }
    if ($ToolsPackage -notmatch '\.(msi|exe)$') {
        throw ('tools_package: {0}: have {1} expect .msi or .exe' -f $ToolsPackage,
            [System.IO.Path]::GetExtension($ToolsPackage))
    }
    $Folder = Join-Path $State 'tools'
    if (-not $DryRun) {
        $null = [System.IO.Directory]::CreateDirectory($Folder)
    }
    Copy-Guest $ToolsPackage (Join-Path $Folder (Split-Path -Leaf $ToolsPackage))
}
