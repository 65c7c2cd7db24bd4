# SPDX-License-Identifier: Apache-2.0
# element: devices
# task: base
# phase: common
# order: 10
# needs: core
# Devices that are not there any more: which they are, and their removal.

# PnPUtil can remove a device since Windows 10 2004 only, SetupAPI always could.
$DeviceRemover = @'
using System;
using System.ComponentModel;
using System.Runtime.InteropServices;

public static class DiskshiftDevice
{
    [StructLayout(LayoutKind.Sequential)]
    struct DeviceInfo
    {
        public uint Size;
        public Guid Class;
        public uint Instance;
        public IntPtr Reserved;
    }

    [DllImport("setupapi.dll", SetLastError = true)]
    static extern IntPtr SetupDiCreateDeviceInfoList(IntPtr classGuid, IntPtr window);

    [DllImport("setupapi.dll", SetLastError = true, CharSet = CharSet.Unicode)]
    static extern bool SetupDiOpenDeviceInfoW(IntPtr list, string instance,
        IntPtr window, uint flags, ref DeviceInfo info);

    [DllImport("setupapi.dll", SetLastError = true)]
    static extern bool SetupDiCallClassInstaller(uint function, IntPtr list,
        ref DeviceInfo info);

    [DllImport("setupapi.dll")]
    static extern bool SetupDiDestroyDeviceInfoList(IntPtr list);

    const uint DifRemove = 5;

    public static void Remove(string instance)
    {
        IntPtr list = SetupDiCreateDeviceInfoList(IntPtr.Zero, IntPtr.Zero);
        if (list == new IntPtr(-1))
            throw new Win32Exception();
        try {
            DeviceInfo info = new DeviceInfo();
            info.Size = (uint)Marshal.SizeOf(typeof(DeviceInfo));
            if (!SetupDiOpenDeviceInfoW(list, instance, IntPtr.Zero, 0, ref info))
                throw new Win32Exception();
            if (!SetupDiCallClassInstaller(DifRemove, list, ref info))
                throw new Win32Exception();
        } finally {
            SetupDiDestroyDeviceInfoList(list);
        }
    }
}
'@

function Remove-Device([string]$Instance) {
    if (-not ('DiskshiftDevice' -as [type])) {
        Add-Type -TypeDefinition $DeviceRemover
    }
    [DiskshiftDevice]::Remove($Instance)
}

# Identifiers of devices that are there, in capitals, as keys.
function Get-PresentDevices {
    $Present = @{}
    foreach ($Device in @(Get-CimInstance -ClassName Win32_PnPEntity)) {
        if ($Device.Present -ne $false) {
            $Present[$Device.DeviceID.ToUpperInvariant()] = $true
        }
    }
    return $Present
}
