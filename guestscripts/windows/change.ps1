# SPDX-License-Identifier: Apache-2.0
# element: change
# task: base
# phase: common
# order: 4
# Everything that changes the guest: nothing when dry, and kept for -Undo.

# saved/PART-SCRIPT.journal has a line of JSON for each change, written before
# it is made: the function that undoes it, a key, what was there. A key comes
# once, so the first state stays however often the script runs. A crash leaves
# at most a last line that is torn, whose change was not yet made.

function Get-JournalPath {
    return (Join-Path $State ('saved\{0}-{1}.journal' -f $Part, $ScriptName))
}

# ProgramData lets users make files in new folders. The second script runs as
# SYSTEM, so nobody else may write beside it: the folder is made with its
# permissions in one call, and one that somebody else has made is refused.
function Initialize-State {
    if ($DryRun) {
        return
    }
    if (Test-Path -LiteralPath $State) {
        $Owner = (Get-Acl -LiteralPath $State).GetOwner(
            [Security.Principal.SecurityIdentifier]).Value
        if ($Owner -ne 'S-1-5-18' -and $Owner -ne 'S-1-5-32-544') {
            throw ("${State}: owner: have $Owner expect S-1-5-18 or " +
                'S-1-5-32-544. It was not made by these scripts: look into ' +
                'it, remove it, then run again')
        }
    } else {
        $Security = New-Object System.Security.AccessControl.DirectorySecurity
        $Security.SetSecurityDescriptorSddlForm(
            'O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)')
        $null = [System.IO.Directory]::CreateDirectory($State, $Security)
    }
    foreach ($Name in 'saved', 'second.d') {
        $null = [System.IO.Directory]::CreateDirectory((Join-Path $State $Name))
    }
    $script:StateReady = $true
}

function Read-Journal {
    $Path = Get-JournalPath
    if (-not (Test-Path -LiteralPath $Path)) {
        return
    }
    foreach ($Line in @(Get-Content -LiteralPath $Path -Encoding UTF8)) {
        try {
            $Entry = ConvertFrom-Json $Line
        } catch {
            Write-Log 'warned' ($Path + ': a line was torn and is left out')
            continue
        }
        $Entry
    }
}

function Add-Change([string]$Undo, [string]$Key, $Data) {
    foreach ($Entry in @(Read-Journal)) {
        if ($Entry.undo -eq $Undo -and $Entry.key -eq $Key) {
            return
        }
    }
    $Line = ConvertTo-Json -Compress -Depth 8 -InputObject ([ordered]@{
            undo = $Undo
            key = $Key
            data = $Data
        })
    Add-Content -LiteralPath (Get-JournalPath) -Value $Line -Encoding UTF8
}

# The number of changes that could not be put back: those stay in the journal.
function Undo-Changes {
    $Entries = @(Read-Journal)
    [array]::Reverse($Entries)
    $Left = @()
    foreach ($Entry in $Entries) {
        if ($DryRun) {
            Write-Would ('put back {0}' -f $Entry.key)
            continue
        }
        try {
            $Function = $Entry.undo
            if ($Function -notlike 'Undo-*') {
                throw ('journal: undo: have ' + $Function)
            }
            $null = & $Function $Entry.key $Entry.data
            Write-Did ('put back {0}' -f $Entry.key)
        } catch {
            Write-Warn ('cannot put back {0}: {1}' -f $Entry.key,
                $_.Exception.Message)
            $Left += , $Entry
        }
    }
    if ($DryRun) {
        return 0
    }
    $Path = Get-JournalPath
    if (Test-Path -LiteralPath $Path) {
        Remove-Item -LiteralPath $Path -Force
    }
    [array]::Reverse($Left)
    foreach ($Entry in $Left) {
        Add-Change $Entry.undo $Entry.key $Entry.data
    }
    return $Left.Count
}

function Test-Same($Have, $Want) {
    if ($null -eq $Have -or $null -eq $Want) {
        return ($null -eq $Have -and $null -eq $Want)
    }
    if (@($Have).Count -ne @($Want).Count) {
        return $false
    }
    return ((@($Have) -join "`n") -ceq (@($Want) -join "`n"))
}

function Set-Registry([string]$Path, [string]$Name, [string]$Type, $Value) {
    $Have = Get-RegistryValue $Path $Name
    if ($Type -eq 'MultiString') {
        $Value = [string[]]@($Value)
    }
    if (Test-Same $Have $Value) {
        return
    }
    $Words = '{0}\{1} = {2}' -f $Path, $Name, (@($Value) -join ' ')
    if ($DryRun) {
        Write-Would $Words
        return
    }
    # 5.1 writes an array that went through a pipeline as { value, Count }.
    if ($Have -is [array]) {
        $Have = @($Have | ForEach-Object { $_ })
    }
    $Kind = $Type
    if ($null -ne $Have) {
        $Kind = "$((Get-Item -LiteralPath $Path).GetValueKind($Name))"
    }
    if (-not (Test-Path -LiteralPath $Path)) {
        Add-Change 'Undo-RegistryKey' $Path $null
        $null = New-Item -Path $Path -Force
    }
    Add-Change 'Undo-Registry' ($Path + '\' + $Name) ([ordered]@{
            path = $Path
            name = $Name
            type = $Kind
            value = $Have
        })
    $null = New-ItemProperty -LiteralPath $Path -Name $Name `
        -PropertyType $Type -Value $Value -Force
    Write-Did $Words
}

# A key that is gone, as that of a removed adapter, has nothing to put back.
function Undo-Registry([string]$Key, $Data) {
    if (-not (Test-Path -LiteralPath $Data.path)) {
        return
    }
    if ($null -ne $Data.value) {
        $Value = $Data.value
        if ($Data.type -eq 'MultiString') {
            $Value = [string[]]@($Value)
        }
        $null = New-ItemProperty -LiteralPath $Data.path -Name $Data.name `
            -PropertyType $Data.type -Value $Value -Force
    } elseif ($null -ne (Get-RegistryValue $Data.path $Data.name)) {
        Remove-ItemProperty -LiteralPath $Data.path -Name $Data.name -Force
    }
}

function Undo-RegistryKey([string]$Key, $Data) {
    if (Test-Path -LiteralPath $Key) {
        Remove-Item -LiteralPath $Key -Force
    }
}

# Under %SystemRoot% and our own folder only; binary, so that drivers fit too.
function Copy-Guest([string]$From, [string]$To) {
    if ((Test-Path -LiteralPath $To) -and
        (Get-FileHash -LiteralPath $To).Hash -eq (Get-FileHash -LiteralPath $From).Hash) {
        return
    }
    if ($DryRun) {
        Write-Would ('copy {0} to {1}' -f $From, $To)
        return
    }
    $Kept = $null
    if (Test-Path -LiteralPath $To) {
        $Kept = Join-Path $State ('saved\' + [guid]::NewGuid().ToString())
        Copy-Item -LiteralPath $To -Destination $Kept
    }
    Add-Change 'Undo-Copy' $To $Kept
    Copy-Item -LiteralPath $From -Destination $To -Force
    Write-Did ('copied {0} to {1}' -f $From, $To)
}

function Undo-Copy([string]$Key, $Data) {
    if ($Data) {
        Copy-Item -LiteralPath $Data -Destination $Key -Force
        Remove-Item -LiteralPath $Data -Force
    } elseif (Test-Path -LiteralPath $Key) {
        Remove-Item -LiteralPath $Key -Force
    }
}
