# SPDX-License-Identifier: Apache-2.0
# element: main-second
# task: base
# phase: main
# needs: core change guard arming machine
# variable: SAME_MACHINE=stay -- what the second script does at a boot while the guest is still on its source: stay (nothing, it has not moved yet) or run
# The second script: leaves the source guest; at the first boot of the target VM puts back, checks, powers off.

$SameMachine = @SAME_MACHINE@
$Part = 'second'
$Phase = 'arrive'
$Wanted = ''
$Parent = 0
$Record = ConvertFrom-Json $CollectedText

# Staged scripts leave one after another: power-off must not overtake the
# removal of the tools.
function Enter-Turn {
    try {
        $script:Turn = New-Object System.Threading.Mutex($false, 'Global\diskshift')
        $null = $script:Turn.WaitOne(1800000)
    } catch {
        Write-Log 'warned' ('turn: ' + $_.Exception.Message)
    }
}

function Invoke-Leave {
    if ($Parent -ne 0) {
        Wait-Process -Id $Parent -Timeout 60 -ErrorAction SilentlyContinue
    }
    Enter-Turn
    $script:Phase = 'leave'
    try {
        $null = steps_leave
    } catch {
        Add-Failure 'main-second' $_.Exception.Message
        $null = Undo-Changes
        Write-Result
        return 1
    }
    Write-Result
    if ($script:PowerOffAsked) {
        Stop-Guest
    }
    return 0
}

# Counted before the work: a script that takes the machine down each time is
# begun $StartsMax times, then put back and left alone.
function Add-Start {
    $Mark = Get-SecondPath ($ScriptName + '.armed')
    $Count = 1 + [int](Get-Content -LiteralPath $Mark -Raw)
    Write-Text $Mark "$Count" $false
    if ($Count -gt $StartsMax) {
        throw ('starts: have {0} expect {1} at most' -f $Count, $StartsMax)
    }
}

function Invoke-Arrive {
    if (-not $DryRun -and
        -not (Test-Path -LiteralPath (Get-SecondPath ($ScriptName + '.armed')))) {
        Write-Log 'did' 'not armed: nothing to do'
        return 0
    }
    if ($SameMachine -ne 'run' -and $Record.machine -ceq (Get-Machine)) {
        Write-Log 'did' 'has not moved yet: stays armed'
        return 0
    }
    $Code = 0
    try {
        if (-not $DryRun) {
            Add-Start
        }
        $script:Phase = 'arrive'
        $null = steps_arrive
        $script:Phase = 'settle'
        $null = steps_settle
    } catch {
        Add-Failure 'main-second' $_.Exception.Message
        $null = Undo-Changes
        # The mover waits for the power-off, and reads the record for what went wrong.
        $script:PowerOffAsked = ($ScriptName -eq 'power-off' -or
            ($ScriptName -eq 'all' -and ($Tasks -split ' ') -contains 'power-off'))
        $Code = 1
    }
    if (-not $DryRun) {
        Unregister-Second
    }
    Write-Result
    if ($script:PowerOffAsked) {
        Stop-Guest
    }
    return $Code
}

foreach ($Argument in $args) {
    if ($Argument -match '^--?dry-?run$') {
        $DryRun = $true
    } elseif ($Argument -match '^--?undo$') {
        $Wanted = 'undo'
    } elseif ($Argument -eq 'leave' -or $Argument -eq 'arrive') {
        $Wanted = $Argument
    } elseif ($Wanted -eq 'leave' -and $Argument -match '^[0-9]+$') {
        $Parent = [int]$Argument
    } else {
        Write-Host ('diskshift: unknown argument: ' + $Argument)
        $Wanted = ''
        break
    }
}
if ($Wanted -eq '') {
    Write-Host 'usage: leave | arrive | -Undo, with -DryRun'
    exit 2
}

try {
    Assert-Guest
    Initialize-State
} catch {
    Write-Log 'failed' $_.Exception.Message
    exit 1
}
$Started = Get-Now
if ($Wanted -eq 'leave') {
    exit (Invoke-Leave)
}
if ($Wanted -eq 'arrive') {
    exit (Invoke-Arrive)
}
$Left = Undo-Changes
if (-not $DryRun) {
    Unregister-Second
}
exit ([int]($Left -ne 0))
