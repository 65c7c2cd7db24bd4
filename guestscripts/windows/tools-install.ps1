# SPDX-License-Identifier: Apache-2.0
# element: tools-install
# task: tools-install
# phase: settle
# order: 50
# needs: core programs
# variable: TOOLS_ARGUMENTS= -- arguments of an .exe package; without them those that VMware's and virtio's know
# The target's tools, from the package that was kept.

$ToolsArguments = @TOOLS_ARGUMENTS@

function Get-ToolsCommand([string]$Package) {
    if ($Package -like '*.msi') {
        return [ordered]@{
            program = (Get-System 'msiexec.exe')
            arguments = '/i "{0}" /qn /norestart REBOOT=ReallySuppress' -f $Package
        }
    }
    $Arguments = $ToolsArguments
    if ($Arguments -eq '' -and $Target -eq 'vmware') {
        $Arguments = '/S /v "/qn REBOOT=ReallySuppress"'
    } elseif ($Arguments -eq '') {
        $Arguments = '/install /quiet /norestart'
    }
    return [ordered]@{ program = $Package; arguments = $Arguments }
}

function element_tools_install {
    foreach ($File in @(Get-ChildItem -LiteralPath (Join-Path $State 'tools'))) {
        $Command = Get-ToolsCommand $File.FullName
        if ($DryRun) {
            Write-Would ('run {0} {1}' -f $Command.program, $Command.arguments)
            continue
        }
        $Code = Invoke-Installer $Command.program $Command.arguments
        if (@(0, 1641, 3010) -contains $Code) {
            Write-Did ('installed ' + $File.Name)
        } else {
            Write-Warn ('{0}: have exit status {1} expect 0' -f $File.Name, $Code)
        }
    }
}
