# SPDX-License-Identifier: Apache-2.0
# element: network-tables
# task: network
# phase: common
# order: 20
# needs: core
# Reads the network's configuration, the same way before the move and after it.

# What is configured is read, not what is in force: a lease is no setting, and
# an adapter without a cable has settings too. IPv4, DNS and WINS are in the
# registry by the adapter's GUID; IPv6 and routes that belong to an adapter only
# in a store that netsh dumps as commands, which no language of Windows changes.

$NetworkServices = 'HKLM:\SYSTEM\CurrentControlSet\Services\'
$NetworkClass = 'HKLM:\SYSTEM\CurrentControlSet\Control\Network\' +
    '{4D36E972-E325-11CE-BFC1-08002BE10318}'

function ConvertTo-Prefix([string]$Mask) {
    $Prefix = 0
    foreach ($Octet in $Mask.Split('.')) {
        $Prefix += [Convert]::ToString([int]$Octet, 2).Replace('0', '').Length
    }
    return $Prefix
}

function ConvertTo-Mask([int]$Prefix) {
    $Octets = @()
    foreach ($Index in 0, 1, 2, 3) {
        $Bits = [Math]::Max(0, [Math]::Min(8, $Prefix - 8 * $Index))
        $Octets += 256 - [int][Math]::Pow(2, 8 - $Bits)
    }
    return ($Octets -join '.')
}

# 00-15-5D-00-01-02, 00155D000102 -> 00:15:5d:00:01:02
function ConvertTo-Mac([string]$Text) {
    $Digits = ($Text -replace '[^0-9A-Fa-f]', '').ToLowerInvariant()
    return [regex]::Replace($Digits, '(..)(?=.)', '$1:')
}

function Split-List($Value) {
    foreach ($Item in (@($Value) -join ' ') -split '[,\s]+') {
        if ($Item -ne '' -and $Item -ne '0.0.0.0') {
            $Item
        }
    }
}

# Lines of `netsh interface ipv4|ipv6 dump` as tables: verb, and NAME=VALUE.
function ConvertFrom-Dump($Lines) {
    foreach ($Line in @($Lines)) {
        if ($Line -match '^\s*((?:add|set) (?:address|route|interface)) (.*)$') {
            $Entry = @{ verb = $Matches[1] }
            foreach ($Pair in [regex]::Matches($Matches[2], '(\w+)=(?:"([^"]*)"|(\S+))')) {
                $Entry[$Pair.Groups[1].Value] = $Pair.Groups[2].Value + $Pair.Groups[3].Value
            }
            $Entry
        }
    }
}

function Get-Dump([string]$Family) {
    return @(ConvertFrom-Dump (Invoke-Program 'netsh.exe' @('interface', $Family, 'dump')))
}

# Adapters with hardware behind them: not teams, switches, tunnels, VPNs.
function Test-Hardware($Adapter) {
    return ($Adapter.MACAddress -and $Adapter.PNPDeviceID -and
        $Adapter.NetConnectionID -and
        $Adapter.PNPDeviceID -notmatch '^(ROOT|SWD|SW|COMPOSITEBUS|BTH|\{)')
}

# The address that the hypervisor gave, also where the driver was told another.
function Get-PermanentAddresses {
    $Permanent = @{}
    if (Test-CimClass 'root/StandardCimv2' 'MSFT_NetAdapter') {
        foreach ($Adapter in @(Get-CimInstance -Namespace 'root/StandardCimv2' `
                    -ClassName 'MSFT_NetAdapter')) {
            if ($Adapter.PermanentAddress) {
                $Permanent["$($Adapter.InterfaceIndex)"] = $Adapter.PermanentAddress
            }
        }
    }
    return $Permanent
}

# Metrics of IPv6 that somebody has set, by interface index.
function Get-Metrics6 {
    $Metrics = @{}
    if (Test-CimClass 'root/StandardCimv2' 'MSFT_NetIPInterface') {
        foreach ($Interface in @(Get-CimInstance -Namespace 'root/StandardCimv2' `
                    -ClassName 'MSFT_NetIPInterface' `
                    -Filter 'AddressFamily=23 AND AutomaticMetric=0')) {
            $Metrics["$($Interface.InterfaceIndex)"] = [int]$Interface.InterfaceMetric
        }
    }
    return $Metrics
}

function Get-Tcpip([string]$Guid, [string]$Name) {
    return (Get-RegistryValue ($NetworkServices + 'Tcpip\Parameters\Interfaces\' + $Guid) $Name)
}

function Get-NicRecord($Adapter, $Permanent, $Metrics6) {
    $Guid = "$($Adapter.GUID)"
    $Index = "$($Adapter.InterfaceIndex)"
    $Mac = $Adapter.MACAddress
    if ($Permanent[$Index]) {
        $Mac = $Permanent[$Index]
    }
    $Netbios = $NetworkServices + 'NetBT\Parameters\Interfaces\Tcpip_' + $Guid
    $Tcpip6 = $NetworkServices + 'Tcpip6\Parameters\Interfaces\' + $Guid
    return [ordered]@{
        mac = (ConvertTo-Mac $Mac)
        name = $Adapter.NetConnectionID
        driver = $Adapter.ServiceName
        path = $Adapter.PNPDeviceID
        mtu = (Get-Tcpip $Guid 'MTU')
        up = ($Adapter.NetConnectionStatus -eq 2)
        master = $null
        guid = $Guid
        index = [int]$Adapter.InterfaceIndex
        dhcp = ((Get-Tcpip $Guid 'EnableDHCP') -ne 0)
        dns = @(Split-List (Get-Tcpip $Guid 'NameServer')) +
            @(Split-List (Get-RegistryValue $Tcpip6 'NameServer'))
        dns_suffix = "$(Get-Tcpip $Guid 'Domain')"
        dns_register = ((Get-Tcpip $Guid 'RegistrationEnabled') -ne 0)
        dns_register_suffix = ((Get-Tcpip $Guid 'RegisterAdapterName') -eq 1)
        wins = @(Split-List (Get-RegistryValue $Netbios 'NameServerList'))
        netbios = [int](Get-RegistryValue $Netbios 'NetbiosOptions')
        ipv4_metric = [int](Get-Tcpip $Guid 'InterfaceMetric')
        ipv6_metric = [int]$Metrics6[$Index]
    }
}

function Get-Address([string]$Name, [string]$Family, [string]$Address, [int]$Prefix,
    [bool]$Dynamic) {
    return [ordered]@{
        interface = $Name
        family = $Family
        address = $Address
        prefix = $Prefix
        scope = 'global'
        dynamic = $Dynamic
    }
}

function Get-Route([string]$Name, [string]$Family, [string]$Destination, $Gateway, $Metric) {
    if ($Destination -eq '0.0.0.0/0' -or $Destination -eq '::/0') {
        $Destination = 'default'
    }
    return [ordered]@{
        family = $Family
        destination = $Destination
        gateway = $Gateway
        interface = $Name
        metric = $Metric
        table = 'main'
        source = $null
        protocol = 'static'
    }
}

# The length of an IPv6 prefix that the dump of older systems leaves out.
function Find-Prefix6([string]$Address, $Configuration) {
    $Index = [array]::IndexOf(@($Configuration.IPAddress), $Address)
    if ($Index -ge 0) {
        return [int]@($Configuration.IPSubnet)[$Index]
    }
    Write-Warn ('{0}: length of its prefix is not known, taken for 64' -f $Address)
    return 64
}

function Get-StaticAddresses($Nic, $Configuration, $Dump6) {
    if (-not $Nic.dhcp) {
        $Addresses = @(Split-List (Get-Tcpip $Nic.guid 'IPAddress'))
        $Masks = @(Split-List (Get-Tcpip $Nic.guid 'SubnetMask'))
        for ($Index = 0; $Index -lt $Addresses.Count; $Index++) {
            Get-Address $Nic.name 'ipv4' $Addresses[$Index] (ConvertTo-Prefix $Masks[$Index]) $false
        }
    }
    foreach ($Entry in $Dump6) {
        if ($Entry.verb -eq 'add address' -and $Entry.interface -eq $Nic.name) {
            $Words = $Entry.address.Split('/')
            if ($Words.Count -eq 2) {
                $Prefix = [int]$Words[1]
            } else {
                $Prefix = Find-Prefix6 $Words[0] $Configuration
            }
            Get-Address $Nic.name 'ipv6' $Words[0] $Prefix $false
        }
    }
}

# Told in the record, left to DHCP and routers afterwards.
function Get-DynamicAddresses($Nic, $Configuration, $Static) {
    $Known = @($Static | ForEach-Object { $_.address })
    $Addresses = @($Configuration.IPAddress)
    $Lengths = @($Configuration.IPSubnet)
    for ($Index = 0; $Index -lt $Addresses.Count; $Index++) {
        $Address = $Addresses[$Index]
        if (-not $Address -or $Known -contains $Address -or $Address -like 'fe80:*') {
            continue
        }
        if ($Address.Contains(':')) {
            Get-Address $Nic.name 'ipv6' $Address ([int]$Lengths[$Index]) $true
        } else {
            Get-Address $Nic.name 'ipv4' $Address (ConvertTo-Prefix $Lengths[$Index]) $true
        }
    }
}

function Get-Gateways($Nic) {
    if ($Nic.dhcp) {
        return
    }
    $Gateways = @(Split-List (Get-Tcpip $Nic.guid 'DefaultGateway'))
    $Metrics = @(Split-List (Get-Tcpip $Nic.guid 'DefaultGatewayMetric'))
    for ($Index = 0; $Index -lt $Gateways.Count; $Index++) {
        $Metric = $null
        if ($Index -lt $Metrics.Count) {
            $Metric = [int]$Metrics[$Index]
        }
        Get-Route $Nic.name 'ipv4' '0.0.0.0/0' $Gateways[$Index] $Metric
    }
}

function Get-DumpRoutes($Nic, [string]$Family, $Dump, $Known) {
    foreach ($Entry in $Dump) {
        if ($Entry.verb -ne 'add route' -or $Entry.interface -ne $Nic.name) {
            continue
        }
        $Metric = $null
        if ($Entry.metric) {
            $Metric = [int]$Entry.metric
        }
        $Route = Get-Route $Nic.name $Family $Entry.prefix $Entry.nexthop $Metric
        $Same = @($Known | Where-Object {
                $_.destination -eq $Route.destination -and $_.gateway -eq $Route.gateway
            })
        if ($Same.Count -eq 0) {
            $Route
        }
    }
}

function Get-NetworkRecord {
    $Permanent = Get-PermanentAddresses
    $Metrics6 = Get-Metrics6
    $Dump4 = Get-Dump 'ipv4'
    $Dump6 = Get-Dump 'ipv6'
    $Network = [ordered]@{ nics = @(); links = @(); addresses = @(); routes = @() }
    foreach ($Adapter in @(Get-CimInstance -ClassName Win32_NetworkAdapter)) {
        if (-not (Test-Hardware $Adapter)) {
            continue
        }
        $Configuration = Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration `
            -Filter ('InterfaceIndex={0}' -f [int]$Adapter.InterfaceIndex)
        $Nic = Get-NicRecord $Adapter $Permanent $Metrics6
        $Static = @(Get-StaticAddresses $Nic $Configuration $Dump6)
        $Gateways = @(Get-Gateways $Nic)
        $Network.nics += , $Nic
        $Network.addresses += $Static
        $Network.addresses += @(Get-DynamicAddresses $Nic $Configuration $Static)
        $Network.routes += $Gateways
        $Network.routes += @(Get-DumpRoutes $Nic 'ipv4' $Dump4 $Gateways)
        $Network.routes += @(Get-DumpRoutes $Nic 'ipv6' $Dump6 @())
    }
    return $Network
}

# The part of a record that belongs to one NIC.
function Select-Static($Network, [string]$Name, [string]$Family) {
    return @($Network.addresses | Where-Object {
            $_.interface -eq $Name -and $_.family -eq $Family -and -not $_.dynamic
        })
}

function Select-Routes($Network, [string]$Name, [string]$Family) {
    return @($Network.routes | Where-Object {
            $_.interface -eq $Name -and $_.family -eq $Family
        })
}

function Find-Nic($Network, [string]$Mac) {
    foreach ($Nic in @($Network.nics)) {
        if ($Nic.mac -eq $Mac) {
            return $Nic
        }
    }
    return $null
}

# One line that says all that is restored of a NIC: equal lines, equal NICs.
function Get-NetworkWords($Nic, $Network) {
    $Words = @()
    if ($Nic.dhcp) {
        $Words += 'dhcp'
    }
    foreach ($Family in 'ipv4', 'ipv6') {
        $Words += @(Select-Static $Network $Nic.name $Family |
                ForEach-Object { '{0}/{1}' -f $_.address, $_.prefix } | Sort-Object)
        $Words += @(Select-Routes $Network $Nic.name $Family |
                ForEach-Object { '{0} via {1} metric {2}' -f $_.destination, $_.gateway, [int]$_.metric } |
                Sort-Object)
    }
    $Words += 'dns ' + (@($Nic.dns) -join ',')
    $Words += 'suffix ' + $Nic.dns_suffix
    $Words += 'wins ' + (@($Nic.wins) -join ',')
    $Words += 'netbios {0} metrics {1} {2}' -f [int]$Nic.netbios,
        [int]$Nic.ipv4_metric, [int]$Nic.ipv6_metric
    return ($Words -join '; ')
}
