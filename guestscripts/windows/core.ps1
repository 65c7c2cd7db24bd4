# SPDX-License-Identifier: Apache-2.0
# element: core
# task: base
# phase: common
# order: 0
# variable: REPORT=auto -- where the second script's result goes besides its file: auto (a virtio port of that name), none, or a serial port as COM2
# Log, steps and the result record.

# What stands outside of functions has to be harmless in constrained language
# mode too: it runs before the guard can refuse it.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Set-StrictMode -Version 1.0

$Job = @JOB@
$ScriptName = @SCRIPT@
$Stage = @STAGE@
$Source = @SOURCE@
$Target = @TARGET@
$Tasks = @TASKS@
$Generator = @VERSION@
$Report = @REPORT@

$State = Join-Path $env:ProgramData 'diskshift'
$LogPath = Join-Path $State 'log'
$RecordPath = Join-Path $State 'guest.json'
$Part = 'first'
$Phase = 'collect'
$DryRun = $false
$StateReady = $false
$PowerOffAsked = $false
$Started = ''
$Steps = @()
$CurrentStep = $null

function Get-Now {
    return (Get-Date).ToUniversalTime().ToString('s') + 'Z'
}

function Write-Log([string]$Level, [string]$Text) {
    $Plain = $Text -replace '[\r\n]+', ' '
    $Line = '{0} {1}-{2} {3}: {4}' -f (Get-Now), $Part, $ScriptName, $Level, $Plain
    Write-Host $Line
    if ($StateReady) {
        Add-Content -LiteralPath $LogPath -Value $Line -Encoding UTF8
    }
}

function Add-Message([string]$Level, [string]$Text) {
    if ($null -ne $script:CurrentStep) {
        $script:CurrentStep.messages += , ([ordered]@{ level = $Level; text = $Text })
        if ($Level -eq 'failed') {
            $script:CurrentStep.status = 'failed'
        } elseif ($Level -eq 'warned' -and $script:CurrentStep.status -eq 'done') {
            $script:CurrentStep.status = 'warned'
        }
    }
    Write-Log $Level $Text
}

function Write-Did([string]$Text) { Add-Message 'did' $Text }
function Write-Would([string]$Text) { Add-Message 'would' $Text }
function Write-Warn([string]$Text) { Add-Message 'warned' $Text }
function Write-Fail([string]$Text) { Add-Message 'failed' $Text }

function Invoke-Step([string]$Name) {
    $Step = [ordered]@{
        element = $Name
        phase = $script:Phase
        status = 'done'
        messages = @()
    }
    $script:Steps += , $Step
    $script:CurrentStep = $Step
    try {
        $null = & ('element_' + $Name.Replace('-', '_'))
    } catch {
        Write-Fail $_.Exception.Message
        throw
    } finally {
        $script:CurrentStep = $null
    }
}

# What failed outside of a step is one too: the record must say it.
function Add-Failure([string]$Name, [string]$Text) {
    Write-Log 'failed' $Text
    if ((Get-Worst $script:Steps) -ne 'failed') {
        $script:Steps += , ([ordered]@{
                element = $Name
                phase = $script:Phase
                status = 'failed'
                messages = @([ordered]@{ level = 'failed'; text = $Text })
            })
    }
}

function Get-Worst($List) {
    $Worst = 'done'
    foreach ($Step in $List) {
        if ($Step.status -eq 'failed') {
            return 'failed'
        }
        if ($Step.status -eq 'warned') {
            $Worst = 'warned'
        }
    }
    return $Worst
}

function Write-Text([string]$Path, [string]$Text, [bool]$Mark) {
    [System.IO.File]::WriteAllText($Path, $Text,
        (New-Object System.Text.UTF8Encoding($Mark)))
}

function Get-ResultRecord {
    return [ordered]@{
        schema = 1
        kind = 'guest-result'
        generator = $Generator
        job = $Job
        script = $ScriptName
        part = $Part
        phase = $script:Phase
        status = (Get-Worst $script:Steps)
        started = $script:Started
        ended = (Get-Now)
        steps = @($script:Steps)
    }
}

function Write-Result {
    $Record = Get-ResultRecord
    if ($DryRun) {
        Write-Host (ConvertTo-Json -InputObject $Record -Depth 8)
        return
    }
    $Path = Join-Path $State ('result-{0}-{1}.json' -f $Part, $ScriptName)
    Write-Text $Path (ConvertTo-Json -InputObject $Record -Depth 8) $false
    if ($Part -eq 'second') {
        Send-Report ('diskshift-result ' +
            (ConvertTo-Json -InputObject $Record -Depth 8 -Compress))
    }
}

# A port with nobody at its other end must hold up nothing: what cannot be
# sent is in the file.
function Send-Report([string]$Line) {
    try {
        if ($Report -match '^COM[0-9]+$') {
            Send-Serial $Line
        } elseif ($Report -eq 'auto' -and
            (Test-Path -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Services\VirtioSerial')) {
            Send-Virtio $Line
        }
    } catch {
        Write-Log 'warned' ('report: ' + $_.Exception.Message)
    }
}

function Send-Serial([string]$Line) {
    $Port = New-Object System.IO.Ports.SerialPort($Report, 115200)
    $Port.WriteTimeout = 5000
    $Port.Open()
    $Port.Write($Line + "`n")
    $Port.Close()
}

# .NET opens no devices; the command interpreter does.
function Send-Virtio([string]$Line) {
    $File = Join-Path $State 'report.line'
    Write-Text $File ($Line + "`n") $false
    $Command = '/d /c type "{0}" > \\.\Global\org.diskshift.report.0' -f $File
    $Process = Start-Process -FilePath (Get-System 'cmd.exe') `
        -ArgumentList $Command -WindowStyle Hidden -PassThru
    if (-not $Process.WaitForExit(5000)) {
        $Process.Kill()
    }
    Remove-Item -LiteralPath $File -Force -ErrorAction SilentlyContinue
}

# Programs are named by their whole path, whatever the caller's PATH holds.
function Get-System([string]$Name) {
    return (Join-Path (Join-Path $env:SystemRoot 'System32') $Name)
}

# The output's lines. What a program writes to its error output is no error of
# PowerShell's here; its exit status tells.
function Invoke-Program([string]$Name, [string[]]$Arguments, [int[]]$Good = @(0)) {
    $ErrorActionPreference = 'Continue'
    $Lines = @(& (Get-System $Name) $Arguments 2>&1 | ForEach-Object { "$_" })
    $Code = $LASTEXITCODE
    if ($Good -notcontains $Code) {
        throw ('{0} {1}: have exit status {2} expect {3}: {4}' -f $Name,
            ($Arguments -join ' '), $Code, ($Good -join ' '), ($Lines -join ' '))
    }
    return $Lines
}

function Test-CimClass([string]$Namespace, [string]$Class) {
    try {
        $null = Get-CimClass -Namespace $Namespace -ClassName $Class
        return $true
    } catch {
        return $false
    }
}

function Get-RegistryValue([string]$Path, [string]$Name) {
    if (-not (Test-Path -LiteralPath $Path)) {
        return $null
    }
    $Value = (Get-Item -LiteralPath $Path).GetValue($Name, $null,
        'DoNotExpandEnvironmentNames')
    if ($Value -is [array]) {
        return , $Value
    }
    return $Value
}
