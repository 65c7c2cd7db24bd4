# SPDX-License-Identifier: Apache-2.0
# element: guard
# task: base
# phase: common
# order: 6
# variable: GRACE=10 -- seconds between the end of a script and power off, in which its result can be fetched and shutdown /a prevents it
# Refuses a guest in which the scripts could not do their work, before anything is changed.

$Grace = @GRACE@

# Only what constrained language mode admits: properties, operators, cmdlets.
function Assert-Language {
    $Mode = "$($ExecutionContext.SessionState.LanguageMode)"
    if ($Mode -ne 'FullLanguage') {
        throw ("PowerShell's language mode: have $Mode expect FullLanguage. " +
            'A policy (AppLocker, App Control, __PSLockdownPolicy) restricts ' +
            'scripts: admit this file and %ProgramData%\diskshift\second.d in ' +
            'it, by path or publisher, or lift it for the move; then run again')
    }
}

# A policy set by the domain wins over -ExecutionPolicy on the command line, so
# the second script, which nobody has signed, would not start.
function Assert-Policy {
    foreach ($Entry in Get-ExecutionPolicy -List) {
        $Scope = "$($Entry.Scope)"
        $Policy = "$($Entry.ExecutionPolicy)"
        if (($Scope -eq 'MachinePolicy' -or $Scope -eq 'UserPolicy') -and
            ($Policy -eq 'AllSigned' -or $Policy -eq 'Restricted')) {
            throw ("execution policy ${Scope}: have $Policy expect RemoteSigned, " +
                'Unrestricted or Bypass. Set "Turn on Script Execution" (Computer ' +
                'Configuration, Administrative Templates, Windows Components, ' +
                'Windows PowerShell) to "Allow local scripts and remote signed ' +
                'scripts" for the move, run gpupdate /force, then run again')
        }
    }
}

function Assert-Version {
    $Version = $PSVersionTable.PSVersion
    if ($Version.Major -lt 5 -or ($Version.Major -eq 5 -and $Version.Minor -lt 1)) {
        throw ("PowerShell: have $Version expect 5.1. Install Windows " +
            'Management Framework 5.1, then run again')
    }
}

# A 32-bit process sees another registry and another System32.
function Assert-Process {
    if ([Environment]::Is64BitOperatingSystem -and
        -not [Environment]::Is64BitProcess) {
        throw ('process: have 32 bits expect 64. Start ' +
            '%SystemRoot%\Sysnative\WindowsPowerShell\v1.0\powershell.exe')
    }
    $Identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $Principal = New-Object Security.Principal.WindowsPrincipal($Identity)
    if (-not $Principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw ('account: have ' + $Identity.Name + ' without administrator ' +
            'rights expect an elevated administrator or SYSTEM')
    }
}

function Assert-Options {
    if ($Grace -notmatch '^[0-9]{1,5}$') {
        throw ('grace: have ' + $Grace + ' expect seconds from 0 to 99999')
    }
    if ($Report -notmatch '^(auto|none|COM[0-9]{1,3})$') {
        throw ('report: have ' + $Report + ' expect auto, none, or COM1 to COM999')
    }
}

function Assert-Guest {
    Assert-Language
    Assert-Version
    Assert-Policy
    Assert-Process
    Assert-Options
}
