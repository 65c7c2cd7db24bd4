# SPDX-License-Identifier: Apache-2.0
# element: programs
# task: base
# phase: common
# order: 12
# needs: core
# Installs and removes programs, without a question and without a restart.

# Both registries: 32-bit installers write into the second.
function Get-InstalledPrograms {
    foreach ($Root in 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall',
        'HKLM:\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall') {
        if (-not (Test-Path -LiteralPath $Root)) {
            continue
        }
        foreach ($Key in @(Get-ChildItem -LiteralPath $Root)) {
            $Name = "$($Key.GetValue('DisplayName'))"
            if ($Name -ne '') {
                [ordered]@{
                    name = $Name
                    code = $Key.PSChildName
                    version = "$($Key.GetValue('DisplayVersion'))"
                }
            }
        }
    }
}

function Invoke-Installer([string]$Program, [string]$Arguments) {
    $Process = Start-Process -FilePath $Program -ArgumentList $Arguments -Wait -PassThru
    return $Process.ExitCode
}

# 1605: is not installed; 1641, 3010: done, wants a restart, which comes anyway.
# The guest moves also where its tools do not want to go: that is a warning.
function Remove-Programs([string]$Pattern) {
    $Found = @(Get-InstalledPrograms | Where-Object { $_.name -match $Pattern })
    if ($Found.Count -eq 0) {
        Write-Did ('no program matches ' + $Pattern)
        return
    }
    foreach ($Program in $Found) {
        $Words = '{0} {1}' -f $Program.name, $Program.version
        if ($Program.code -notmatch '^\{[0-9A-Fa-f-]{36}\}$') {
            Write-Warn ($Words + ': was not installed by an MSI package and stays')
            continue
        }
        if ($DryRun) {
            Write-Would ('remove ' + $Words)
            continue
        }
        $Code = Invoke-Installer (Get-System 'msiexec.exe') (
            '/x {0} /qn /norestart REBOOT=ReallySuppress /l*v "{1}"' -f $Program.code,
            (Join-Path $State ('remove-' + $Program.code + '.log')))
        if (@(0, 1605, 1641, 3010) -contains $Code) {
            Write-Did ('removed ' + $Words)
        } else {
            Write-Warn ('{0}: msiexec: have exit status {1} expect 0' -f $Words, $Code)
        }
    }
}
