# SPDX-License-Identifier: Apache-2.0
# element: network-restore
# task: network
# phase: arrive
# order: 30
# needs: core change network-tables network-adapters
# Addresses, gateways, routes, DNS, WINS and metrics of each adapter, by MAC address.

# The methods of Win32_NetworkAdapterConfiguration refuse an adapter that is not
# connected (84), which a trial run on an isolated network has; netsh does not.
function Set-Configuration([int]$Index, [string]$Method, $Arguments, [string[]]$Netsh) {
    $Instance = Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration `
        -Filter ('InterfaceIndex={0}' -f $Index)
    $Result = Invoke-CimMethod -InputObject $Instance -MethodName $Method -Arguments $Arguments
    if ($Result.ReturnValue -eq 0 -or $Result.ReturnValue -eq 1) {
        return
    }
    if (-not $Netsh) {
        throw ('{0}: have status {1} expect 0 or 1' -f $Method, $Result.ReturnValue)
    }
    Write-Log 'did' ('{0}: status {1}: by netsh instead' -f $Method, $Result.ReturnValue)
    foreach ($Line in $Netsh) {
        $null = Invoke-Program 'netsh.exe' ($Line.Split(' '))
    }
}

function Get-AddressLines([int]$Index, $Addresses, $Gateways) {
    $Verb = 'set address name={0} source=static address={1} mask={2}'
    foreach ($Address in $Addresses) {
        'interface ipv4 ' + ($Verb -f $Index, $Address.address, (ConvertTo-Mask $Address.prefix))
        $Verb = 'add address name={0} address={1} mask={2}'
    }
    foreach ($Route in $Gateways) {
        'interface ipv4 add route {0} interface={1}' -f (Get-RouteWords $Route), $Index
    }
}

# 0 stands for an automatic metric in the registry, and is none for the method.
function Set-Gateways([int]$Index, [string]$Guid, $Gateways) {
    Set-Configuration $Index 'SetGateways' @{
        DefaultIPGateway = [string[]]@($Gateways | ForEach-Object { $_.gateway })
        GatewayCostMetric = [uint16[]]@($Gateways |
                ForEach-Object { [Math]::Max(1, [int]$_.metric) })
    } @(Get-AddressLines $Index @() $Gateways)
    Set-Registry ($NetworkServices + 'Tcpip\Parameters\Interfaces\' + $Guid) `
        'DefaultGatewayMetric' 'MultiString' @($Gateways | ForEach-Object { "$([int]$_.metric)" })
}

function Set-Addresses4([int]$Index, [string]$Guid, $Network, $Nic) {
    $Addresses = @(Select-Static $Network $Nic.name 'ipv4')
    if ($Nic.dhcp) {
        if ((Get-Tcpip $Guid 'EnableDHCP') -ne 0) {
            return
        }
        Set-Configuration $Index 'EnableDHCP' @{} @(
            'interface ipv4 set address name={0} source=dhcp' -f $Index)
        return
    }
    if ($Addresses.Count -eq 0) {
        Set-Registry ($NetworkServices + 'Tcpip\Parameters\Interfaces\' + $Guid) `
            'EnableDHCP' 'DWord' 0
        return
    }
    Set-Configuration $Index 'EnableStatic' @{
        IPAddress = [string[]]@($Addresses | ForEach-Object { $_.address })
        SubnetMask = [string[]]@($Addresses | ForEach-Object { ConvertTo-Mask $_.prefix })
    } @(Get-AddressLines $Index $Addresses @())
    $Gateways = @(Select-Routes $Network $Nic.name 'ipv4' |
            Where-Object { $_.destination -eq 'default' -and $_.gateway })
    if ($Gateways.Count -gt 0) {
        Set-Gateways $Index $Guid $Gateways
    }
}

function Get-ServerLines([int]$Index, [string]$Family, $Servers) {
    'interface {0} delete dnsserver name={1} address=all validate=no' -f $Family, $Index
    foreach ($Server in $Servers) {
        'interface {0} add dnsserver name={1} address={2} validate=no' -f $Family, $Index, $Server
    }
}

function Set-Names([int]$Index, $Nic, $Present) {
    $Servers4 = @($Nic.dns | Where-Object { $_ -and -not $_.Contains(':') })
    $Servers6 = @($Nic.dns | Where-Object { $_ -and $_.Contains(':') })
    $Argument = @{ DNSServerSearchOrder = [string[]]$Servers4 }
    if ($Servers4.Count -eq 0) {
        $Argument = @{}
    }
    Set-Configuration $Index 'SetDNSServerSearchOrder' $Argument `
    @(Get-ServerLines $Index 'ipv4' $Servers4)
    if ($Servers6.Count -gt 0 -or @($Present.dns | Where-Object { $_ -like '*:*' }).Count -gt 0) {
        foreach ($Line in @(Get-ServerLines $Index 'ipv6' $Servers6)) {
            $null = Invoke-Program 'netsh.exe' ($Line.Split(' ')) @(0, 1)
        }
    }
}

# Plain values of the adapter in the registry; they hold from the next boot on,
# which follows the power-off. So they need no connection.
function Set-Values($Nic, [string]$Guid) {
    $Path = $NetworkServices + 'Tcpip\Parameters\Interfaces\' + $Guid
    $Netbios = $NetworkServices + 'NetBT\Parameters\Interfaces\Tcpip_' + $Guid
    if ($Nic.dns_suffix) {
        Set-Registry $Path 'Domain' 'String' $Nic.dns_suffix
    }
    if ($Nic.dns_register -eq $false) {
        Set-Registry $Path 'RegistrationEnabled' 'DWord' 0
    }
    if ($Nic.dns_register_suffix) {
        Set-Registry $Path 'RegisterAdapterName' 'DWord' 1
    }
    if ($Nic.ipv4_metric) {
        Set-Registry $Path 'InterfaceMetric' 'DWord' $Nic.ipv4_metric
    }
    if ($Nic.mtu) {
        Set-Registry $Path 'MTU' 'DWord' $Nic.mtu
    }
    if (@($Nic.wins).Count -gt 0) {
        Set-Registry $Netbios 'NameServerList' 'MultiString' @($Nic.wins)
    }
    if ($Nic.netbios) {
        Set-Registry $Netbios 'NetbiosOptions' 'DWord' $Nic.netbios
    }
}

# What is wanted and not there, as netsh's words: IPv6, and routes of both.
function Get-StoreLines([int]$Index, $Want, [string]$WantName, $Have, [string]$HaveName) {
    $Known = @(Select-Static $Have $HaveName 'ipv6' | ForEach-Object { $_.address })
    foreach ($Address in @(Select-Static $Want $WantName 'ipv6')) {
        if ($Known -notcontains $Address.address) {
            'interface ipv6 add address interface={0} address={1}/{2} store=persistent' -f
                $Index, $Address.address, $Address.prefix
        }
    }
    foreach ($Family in 'ipv4', 'ipv6') {
        $Known = @(Select-Routes $Have $HaveName $Family | ForEach-Object { Get-RouteWords $_ })
        foreach ($Route in @(Select-Routes $Want $WantName $Family)) {
            if ($Known -contains (Get-RouteWords $Route) -or
                ($Family -eq 'ipv4' -and $Route.destination -eq 'default')) {
                continue
            }
            'interface {0} add route {1} interface={2} store=persistent' -f
                $Family, (Get-RouteWords $Route), $Index
        }
    }
}

function Get-RouteWords($Route) {
    $Destination = $Route.destination
    if ($Destination -eq 'default') {
        $Destination = '0.0.0.0/0'
        if ($Route.family -eq 'ipv6') {
            $Destination = '::/0'
        }
    }
    $Words = 'prefix=' + $Destination
    if ($Route.gateway) {
        $Words += ' nexthop=' + $Route.gateway
    }
    if ($Route.metric) {
        $Words += ' metric=' + $Route.metric
    }
    return $Words
}

function Set-Metric6([int]$Index, [int]$Metric, [int]$Have) {
    if ($Metric -eq $Have) {
        return
    }
    $Interface = Get-CimInstance -Namespace 'root/StandardCimv2' -ClassName 'MSFT_NetIPInterface' `
        -Filter ('InterfaceIndex={0} AND AddressFamily=23' -f $Index)
    $Property = @{ AutomaticMetric = 1 }
    if ($Metric -ne 0) {
        $Property = @{ AutomaticMetric = 0; InterfaceMetric = $Metric }
    }
    Set-CimInstance -InputObject $Interface -Property $Property
}

function Test-Configured($Nic, $Want, $Present, $Have) {
    return ((Get-NetworkWords $Nic $Want) -ceq (Get-NetworkWords $Present $Have))
}

function Restore-Nic($Nic, $Have, $Network) {
    if (Test-Configured $Nic $Record $Have $Network) {
        Write-Did ('{0} {1}: is configured' -f $Nic.mac, $Nic.name)
        return
    }
    $Lines = @(Get-StoreLines $Have.index $Record $Nic.name $Network $Have.name)
    if ($DryRun) {
        Write-Would ('{0} {1}: {2}' -f $Nic.mac, $Nic.name, (Get-NetworkWords $Nic $Record))
        return
    }
    Add-Change 'Undo-Nic' $Have.guid ([ordered]@{
            nic = $Have
            addresses = @($Network.addresses | Where-Object { $_.interface -eq $Have.name })
            routes = @($Network.routes | Where-Object { $_.interface -eq $Have.name })
        })
    Set-Addresses4 $Have.index $Have.guid $Record $Nic
    Set-Names $Have.index $Nic $Have
    Set-Values $Nic $Have.guid
    foreach ($Line in $Lines) {
        $null = Invoke-Program 'netsh.exe' ($Line.Split(' '))
    }
    Set-Metric6 $Have.index $Nic.ipv6_metric $Have.ipv6_metric
    Write-Did ('{0} {1}: {2}' -f $Nic.mac, $Nic.name, (Get-NetworkWords $Nic $Record))
}

# Back to what the adapter had before, under whatever name it has now.
function Undo-Nic([string]$Key, $Data) {
    $Network = Get-NetworkRecord
    $Present = @($Network.nics | Where-Object { $_.guid -eq $Key })
    if ($Present.Count -eq 0) {
        return
    }
    $Index = $Present[0].index
    $Added = @(Get-StoreLines $Index $Network $Present[0].name $Data $Data.nic.name)
    foreach ($Line in $Added) {
        $Words = $Line.Replace(' add ', ' delete ') -replace ' metric=\d+', '' `
            -replace '(address=[^/ ]+)/\d+', '$1'
        $null = Invoke-Program 'netsh.exe' ($Words.Split(' '))
    }
    Set-Addresses4 $Index $Key $Data $Data.nic
    Set-Names $Index $Data.nic $Present[0]
    Set-Metric6 $Index $Data.nic.ipv6_metric $Present[0].ipv6_metric
}

function element_network_restore {
    $Network = Wait-Nics
    $Missing = @()
    foreach ($Nic in @($Record.nics)) {
        $Have = Find-Nic $Network $Nic.mac
        if ($null -eq $Have) {
            Write-Warn ('{0} {1}: no adapter has this address: {2}' -f $Nic.mac,
                $Nic.name, (Get-NetworkWords $Nic $Record))
            $Missing += $Nic.mac
            continue
        }
        Restore-Nic $Nic $Have $Network
    }
    if ($Missing.Count -gt 0 -and $Missing.Count -eq @($Record.nics).Count) {
        throw ('no adapter of the source is here: ' + ($Missing -join ' '))
    }
}
