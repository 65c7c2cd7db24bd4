# The same Windows on the target's hardware: other adapters, whose names are
# the old ones in another order; disks offline; letters that changed places.
def tcpip: "hklm:\\system\\currentcontrolset\\services\\tcpip\\parameters\\interfaces\\";
def adapter($index; $name; $mac; $connected):
    { index: $index, name: $name, GUID: "{BBBBBBBB-0000-0000-0000-0000000000\($index)}",
      MACAddress: $mac, device: "PCI\\VEN_1AF4&DEV_1041\\\($index)", driver: "netkvm",
      connected: $connected };
.shutdown = null | .computer.Manufacturer = "QEMU" | .computer.Model = "Standard PC"
| .programs = []
| .adapters = [
    adapter(21; "Ethernet0"; "52:54:00:AA:BB:03"; false),
    adapter(22; "Backup"; "52:54:00:AA:BB:01"; true),
    adapter(23; "Ethernet"; "52:54:00:AA:BB:02"; true),
    adapter(24; "Ethernet 4"; "52:54:00:AA:BB:04"; true)]
| reduce .adapters[] as $a (.;
    .registry[tcpip + ($a.GUID | ascii_downcase)] = { EnableDHCP: ["DWord", 1] })
# The adapters' names are free for them: what holds a name is its ghost.
| reduce (.registry | keys[] | select(test("control\\\\network\\\\.*\\\\connection$"))) as $k (.;
    if .registry[$k].Name[1] == "Ethernet0" or .registry[$k].Name[1] == "Backup"
    then .registry[$k].Name[1] += " #ghost" else . end)
| (.disks[] | select(.Number == 1)) |= (.IsOffline = true | .IsReadOnly = true)
| (.disks[] | select(.Number == 2)).IsOffline = false
| (.volumes[] | select(.Label == "Data")).DriveLetter = "F:"
| (.volumes[] | select(.Label == "Logs")).DriveLetter = "D:"
| (.volumes[] | select(.DriveType == 5)).DriveLetter = "E:"
