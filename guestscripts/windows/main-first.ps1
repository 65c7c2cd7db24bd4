# SPDX-License-Identifier: Apache-2.0
# element: main-first
# task: base
# phase: main
# needs: core change literal guard arming
# The first script: collects, prepares, arms the second, answers, leaves.

$Part = 'first'
$Wanted = 'run'
$Record = $null

function Write-Usage {
    Write-Host @'
Collects what is true of this Windows guest, prepares it for its move, arms the
second script for the next boot, powers off.

    powershell -NoProfile -ExecutionPolicy Bypass -File SCRIPT [OPTION]

    -DryRun   print what it would do, change nothing
    -Undo     put back what was changed, and disarm
    -Help     this

Exit status: 0 done, 1 failed and put back, 2 usage.
'@
}

# A staged script knows only what it asked for itself: the record in the guest
# grows with each of them.
function Write-Record {
    $All = [ordered]@{
        schema = 1
        kind = 'guest-record'
        generator = $Generator
        job = $Job
        collected = (Get-Now)
        source = $Source
        target = $Target
    }
    if (Test-Path -LiteralPath $RecordPath) {
        $Before = ConvertFrom-Json (Get-Content -LiteralPath $RecordPath -Raw -Encoding UTF8)
        if ($Before.job -eq $Job) {
            foreach ($Member in $Before.PSObject.Properties) {
                if (-not $All.Contains($Member.Name)) {
                    $All[$Member.Name] = $Member.Value
                }
            }
        }
    }
    foreach ($Name in $Record.Keys) {
        $All[$Name] = $Record[$Name]
    }
    $Text = ConvertTo-Json -InputObject $All -Depth 8
    if ($DryRun) {
        Write-Host $Text
    } else {
        Write-Text $RecordPath $Text $false
    }
}

# What was collected goes into the second script as one literal.
function Get-SecondScript {
    $Text = ConvertTo-Json -InputObject $Record -Depth 8
    return ('$CollectedText = ' + (ConvertTo-Literal $Text) + "`n" + $SecondText)
}

function Invoke-Undo {
    $Second = Get-SecondPath ($ScriptName + '.ps1')
    if (-not $DryRun -and (Test-Path -LiteralPath $Second)) {
        $Process = Start-Process -FilePath (Get-PowerShell) -Wait -PassThru `
            -WindowStyle Hidden -ArgumentList (Get-SecondArguments $Second '-Undo')
        if ($Process.ExitCode -ne 0) {
            Write-Warn ('the second script: not all was put back; see ' + $LogPath)
        }
    }
    $Left = Undo-Changes
    # Staged scripts share the folder: the last one clears it. The log and the
    # results stay.
    if (-not $DryRun -and @(Get-ChildItem -Path (Join-Path $State 'saved\*.journal')).Count -eq 0) {
        foreach ($Name in 'saved', 'second.d', 'tools', 'guest.json') {
            Remove-Item -LiteralPath (Join-Path $State $Name) -Recurse -Force `
                -ErrorAction SilentlyContinue
        }
    }
    return $Left
}

function Invoke-First {
    try {
        Assert-Guest
        Initialize-State
        $script:Record = [ordered]@{}
        $script:Phase = 'collect'
        $null = steps_collect
        Write-Record
        $script:Phase = 'prepare'
        $null = steps_prepare
        Register-Second (Get-SecondScript)
    } catch {
        Add-Failure 'main-first' $_.Exception.Message
        return 1
    }
    return 0
}

# Where the guard has refused there is nothing to put back, and no folder of
# ours that could be written to or believed.
function Complete-Failure {
    if ($StateReady) {
        $null = Undo-Changes
        Write-Result
    }
}

foreach ($Argument in $args) {
    if ($Argument -match '^--?dry-?run$') {
        $DryRun = $true
    } elseif ($Argument -match '^--?undo$') {
        $Wanted = 'undo'
    } elseif ($Argument -match '^--?help$') {
        Write-Usage
        exit 0
    } else {
        Write-Host ('diskshift: unknown argument: ' + $Argument)
        Write-Usage
        exit 2
    }
}

if ($Wanted -eq 'undo') {
    try {
        Assert-Guest
        Initialize-State
        $Left = Invoke-Undo
    } catch {
        Write-Log 'failed' $_.Exception.Message
        exit 1
    }
    exit ([int]($Left -ne 0))
}

$Started = Get-Now
$Status = Invoke-First
if ($Status -ne 0) {
    Complete-Failure
    exit 1
}
Write-Result
if ($DryRun) {
    exit 0
}
try {
    Start-Leave
} catch {
    Write-Log 'failed' $_.Exception.Message
    exit 1
}
exit 0
