# SPDX-License-Identifier: Apache-2.0
# element: arming
# task: base
# phase: common
# order: 8
# needs: core change literal
# Keeps the second script and starts it: detached in the source guest, by a task at startup in the target VM.

# One task, SYSTEM, at startup, with one action for each second script that is
# armed; they follow each other in the order in which the first scripts ran.
# SCRIPT.armed beside SCRIPT.ps1 says that it is still to come, and how often
# it was begun. Who takes the last one away takes the task away.

$TaskName = 'diskshift'
# A task that is not here comes before the last.
$ScriptOrder = 'all', 'network', 'drivers', 'boot', 'tools-remove', 'tools-install'
$ScriptLast = 'power-off'
$StartsMax = 3

function Get-SecondPath([string]$Name) {
    return (Join-Path $State ('second.d\' + $Name))
}

function Get-PowerShell {
    return (Get-System 'WindowsPowerShell\v1.0\powershell.exe')
}

function Get-SecondArguments([string]$Path, [string]$Words) {
    return ('-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "{0}" {1}' -f
        $Path, $Words)
}

function Get-Armed {
    $Names = @(Get-ChildItem -Path (Get-SecondPath '*.armed') |
            ForEach-Object { $_.Name -replace '\.armed$', '' })
    foreach ($Name in $ScriptOrder) {
        if ($Names -contains $Name) {
            $Name
        }
    }
    foreach ($Name in $Names) {
        if ($ScriptOrder -notcontains $Name -and $Name -ne $ScriptLast) {
            $Name
        }
    }
    if ($Names -contains $ScriptLast) {
        $ScriptLast
    }
}

function Get-TaskText([string[]]$Names) {
    $Actions = ''
    foreach ($Name in $Names) {
        $Words = Get-SecondArguments (Get-SecondPath ($Name + '.ps1')) 'arrive'
        $Actions += '<Exec><Command>{0}</Command><Arguments>{1}</Arguments></Exec>' -f
            [Security.SecurityElement]::Escape((Get-PowerShell)),
            [Security.SecurityElement]::Escape($Words)
    }
    return ('<?xml version="1.0" encoding="UTF-16"?>' + "`r`n" +
        '<Task version="1.2" ' +
        'xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">' +
        '<RegistrationInfo><Description>diskshift: puts the network back ' +
        'after a move, once</Description></RegistrationInfo>' +
        '<Triggers><BootTrigger><Enabled>true</Enabled></BootTrigger></Triggers>' +
        '<Principals><Principal id="Author"><UserId>S-1-5-18</UserId>' +
        '<RunLevel>HighestAvailable</RunLevel></Principal></Principals>' +
        '<Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>' +
        '<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>' +
        '<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>' +
        '<ExecutionTimeLimit>PT2H</ExecutionTimeLimit><Priority>4</Priority>' +
        '</Settings><Actions Context="Author">' + $Actions + '</Actions></Task>')
}

function Register-Second([string]$Text) {
    if ($DryRun) {
        Write-Would ('write the second script, {0} characters, and start it at the next boot' -f
            $Text.Length)
        return
    }
    Add-Change 'Undo-Arming' $ScriptName $null
    Write-Text (Get-SecondPath ($ScriptName + '.ps1')) $Text $true
    Write-Text (Get-SecondPath ($ScriptName + '.armed')) '0' $false
    $File = Join-Path $State 'task.xml'
    [System.IO.File]::WriteAllText($File, (Get-TaskText @(Get-Armed)),
        [System.Text.Encoding]::Unicode)
    $null = Invoke-Program 'schtasks.exe' @('/Create', '/TN', $TaskName, '/XML',
        $File, '/F')
    Remove-Item -LiteralPath $File -Force
    Write-Did 'the second script will start at the next boot'
}

function Test-Task {
    try {
        $null = Invoke-Program 'schtasks.exe' @('/Query', '/TN', $TaskName)
        return $true
    } catch {
        return $false
    }
}

function Unregister-Second {
    $Mark = Get-SecondPath ($ScriptName + '.armed')
    if (Test-Path -LiteralPath $Mark) {
        Remove-Item -LiteralPath $Mark -Force
    }
    if (@(Get-Armed).Count -eq 0 -and (Test-Task)) {
        $null = Invoke-Program 'schtasks.exe' @('/Delete', '/TN', $TaskName, '/F')
        Write-Did 'the task at startup is removed'
    }
}

function Undo-Arming([string]$Key, $Data) {
    Unregister-Second
    $Path = Get-SecondPath ($Key + '.ps1')
    if (Test-Path -LiteralPath $Path) {
        Remove-Item -LiteralPath $Path -Force
    }
}

# A child of WMI's host, so that it outlives the session or agent that called.
function Start-Leave {
    $Line = '"{0}" {1}' -f (Get-PowerShell), (Get-SecondArguments `
            (Get-SecondPath ($ScriptName + '.ps1')) ('leave {0}' -f $PID))
    $Result = Invoke-CimMethod -ClassName Win32_Process -MethodName Create `
        -Arguments @{ CommandLine = $Line }
    if ($Result.ReturnValue -ne 0) {
        throw ('Win32_Process.Create: have {0} expect 0' -f $Result.ReturnValue)
    }
}

function Stop-Guest {
    if ($DryRun) {
        Write-Would ('power off in {0} s' -f $Grace)
        return
    }
    # 1115 and 1190: it is going down already.
    $null = Invoke-Program 'shutdown.exe' @('/s', '/f', '/t', $Grace, '/d',
        'p:4:1', '/c', 'diskshift: this machine moves') @(0, 1115, 1190)
    Write-Log 'did' ('powers off in {0} s' -f $Grace)
}
