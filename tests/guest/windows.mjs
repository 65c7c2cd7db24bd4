// SPDX-License-Identifier: Apache-2.0
// The Windows that a script sees: registry, files, CIM classes, netsh and other
// programs, kept in one JSON document.
//
//     node windows.mjs PARSER WORLD.json SCRIPT.ps1 [ARGUMENT...]
//
// runs SCRIPT with what PARSER makes of it, changes WORLD.json and ends with
// the script's status. DS_REFUSE=METHOD[:N] lets a CIM method, and DS_REFUSE=
// PROGRAM.exe a program, fail (the first N times it is called; without N each
// time). Classes have the members that Microsoft documents; to ask for another
// is an error, as is an unknown command, parameter, program or word.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { Dictionary, Interpreter, Native, PsError, asList, fromJson, text, toJson } from './powershell.mjs';

const INTERFACES = 'HKLM:\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters\\Interfaces\\';
const INTERFACES6 = 'HKLM:\\SYSTEM\\CurrentControlSet\\Services\\Tcpip6\\Parameters\\Interfaces\\';
const CONNECTIONS = 'HKLM:\\SYSTEM\\CurrentControlSet\\Control\\Network\\{4D36E972-E325-11CE-BFC1-08002BE10318}';

// Members of the classes that are asked for, and whether Windows 7 has them.
const classes = {
    'root/cimv2:win32_operatingsystem': 'Caption Version BuildNumber ProductType OSArchitecture',
    'root/cimv2:win32_computersystem': 'Name DNSHostName Manufacturer Model',
    'root/cimv2:win32_computersystemproduct': 'UUID',
    'root/cimv2:win32_networkadapter': 'MACAddress NetConnectionID NetConnectionStatus NetEnabled GUID Index InterfaceIndex PNPDeviceID ServiceName',
    'root/cimv2:win32_networkadapterconfiguration': 'InterfaceIndex IPEnabled IPAddress IPSubnet SettingID DHCPEnabled',
    'root/cimv2:win32_pnpentity': 'DeviceID Present',
    'root/cimv2:win32_volume': 'DeviceID DriveLetter DriveType Label',
    'root/cimv2:win32_diskdrive': 'Index Signature',
    'root/cimv2:win32_logicaldisktopartition': 'Antecedent Dependent',
    'root/cimv2:win32_process': '',
    'root/standardcimv2:msft_netadapter': 'InterfaceIndex PermanentAddress',
    'root/standardcimv2:msft_netipinterface': 'InterfaceIndex AddressFamily AutomaticMetric InterfaceMetric',
    'root/microsoft/windows/storage:msft_disk': 'Number Guid Signature IsOffline IsReadOnly',
    'root/microsoft/windows/storage:msft_diskimage': '',
    'root/cimv2/security/microsoftvolumeencryption:win32_encryptablevolume': 'DriveLetter ProtectionStatus',
};
const parameters = {
    'write-host': ['object'], 'get-date': [],
    'test-path': ['path', 'literalpath', 'pathtype'],
    'add-content': ['literalpath', 'value', 'encoding'],
    'get-content': ['literalpath', 'raw', 'encoding'],
    'convertto-json': ['inputobject', 'depth', 'compress'], 'convertfrom-json': ['inputobject'],
    'join-path': ['path', 'childpath'], 'split-path': ['path', 'leaf'],
    'new-object': ['typename', 'argumentlist'],
    'start-process': ['filepath', 'argumentlist', 'wait', 'passthru', 'windowstyle'],
    'remove-item': ['literalpath', 'force', 'recurse', 'erroraction'],
    'get-cimclass': ['namespace', 'classname'],
    'get-ciminstance': ['classname', 'namespace', 'filter'],
    'set-ciminstance': ['inputobject', 'property'],
    'invoke-cimmethod': ['inputobject', 'classname', 'methodname', 'arguments'],
    'get-item': ['literalpath'], 'new-item': ['path', 'force'],
    'new-itemproperty': ['literalpath', 'name', 'propertytype', 'value', 'force'],
    'remove-itemproperty': ['literalpath', 'name', 'force'],
    'get-childitem': ['path', 'literalpath', 'recurse', 'filter'],
    'get-acl': ['literalpath'], 'get-executionpolicy': ['list'],
    'start-sleep': ['seconds'], 'wait-process': ['id', 'timeout', 'erroraction'],
    'copy-item': ['literalpath', 'destination', 'force'], 'get-filehash': ['literalpath'],
    'mount-diskimage': ['imagepath', 'passthru'], 'dismount-diskimage': ['imagepath'],
    'get-volume': ['diskimage'], 'add-type': ['typedefinition'],
};
const fixed = { 'get-childitem': 'path', 'convertfrom-json': 'inputobject' };
const switches = new Set(['force', 'recurse', 'raw', 'passthru', 'wait', 'compress', 'list', 'leaf', 'unique']);
const low = (s) => text(s).toLowerCase().replace(/\\+$/, '').replace(/\\+/g, '\\');
const maskOf = (prefix) => [0, 1, 2, 3].map((i) => 256 - 2 ** (8 - Math.max(0, Math.min(8, prefix - 8 * i)))).join('.');
const lengthOf = (mask) => mask.split('.').map((o) => Number(o).toString(2).replace(/0/g, '').length).reduce((a, b) => a + b);

class Windows {
    constructor(world) {
        this.world = world;
        this.exit = 0;
        this.clock = world.clock ?? 0;
        this.types = new Set();
        const [what, times] = (process.env.DS_REFUSE ?? '').split(':');
        this.refused = what.toLowerCase();
        this.refusals = times === undefined ? Infinity : Number(times);
    }
    refuses(what) {
        if (low(what) !== this.refused || this.refusals <= 0) return false;
        this.refusals--;
        return true;
    }
    print(line) { process.stdout.write(line + '\n'); }
    isSwitch(name) { return switches.has(name); }
    environment(name) {
        return { systemroot: 'C:\\Windows', systemdrive: 'C:', programdata: 'C:\\ProgramData',
            processor_architecture: this.world.architecture ?? 'AMD64' }[name] ?? null;
    }
    automatic(name) {
        if (name === 'lastexitcode') return this.exit;
        if (name === 'pid') return 4711;
        if (name === 'psversiontable') {
            const [major, minor] = (this.world.powershell ?? '5.1').split('.').map(Number);
            return Dictionary.from({ PSVersion: new Native('Version', { major, minor, text: `${major}.${minor}` }) });
        }
        if (name === 'executioncontext') {
            return new Native('EngineIntrinsics', { sessionstate: new Native('SessionState',
                { languagemode: this.world.language ?? 'FullLanguage' }) });
        }
        return undefined;
    }
    // In constrained language mode methods, types and New-Object are denied.
    permitted(what) {
        if ((this.world.language ?? 'FullLanguage') !== 'FullLanguage') {
            throw new PsError(`${what} is not allowed in this language mode`);
        }
    }
    type(name) { return this.types.has(name.toLowerCase()) ? name : null; }
    constant(type, name) {
        this.permitted(type);
        const value = {
            'environment.is64bitoperatingsystem': true,
            'environment.is64bitprocess': !this.world.wow64,
            'security.principal.windowsbuiltinrole.administrator': 'Administrator',
            'security.principal.securityidentifier': 'sid',
            'stringcomparison.ordinalignorecase': 'OrdinalIgnoreCase',
            'system.text.encoding.unicode': 'unicode',
        }[`${type}.${name}`];
        if (value === undefined) throw new Error(`[${type}]::${name} is not known here`);
        return value;
    }
    method(type, name, args) {
        this.permitted(type);
        const key = `${type}.${name}`.replace(/^system\./, '');
        switch (key) {
        case 'regex.replace': return text(args[0]).replace(new RegExp(args[1], 'g'), args[2].replace(/\$0/g, '$$&'));
        case 'regex.matches':
            return [...text(args[0]).matchAll(new RegExp(args[1], 'g'))].map((m) => new Native('Match', {
                groups: m.map((g) => new Native('Group', { value: g ?? '' })) }));
        case 'math.max': return Math.max(args[0], args[1]);
        case 'math.min': return Math.min(args[0], args[1]);
        case 'math.pow': return args[0] ** args[1];
        case 'convert.tostring': return Number(args[0]).toString(args[1]);
        case 'array.reverse': args[0].reverse(); return undefined;
        case 'array.indexof': return args[0].indexOf(args[1]);
        case 'guid.newguid': return `00000000-0000-0000-0000-${String(++this.world.guids || (this.world.guids = 1)).padStart(12, '0')}`;
        case 'security.securityelement.escape':
            return text(args[0]).replace(/[<>"'&]/g, (c) => ({ '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;', '&': '&amp;' }[c]));
        case 'security.principal.windowsidentity.getcurrent':
            return new Native('WindowsIdentity', { name: this.world.account ?? 'NT AUTHORITY\\SYSTEM' });
        case 'io.file.writealltext': this.write(args[0], args[1], args[2]); return undefined;
        case 'io.directory.createdirectory': {
            const key_ = low(args[0]);
            this.world.directories[key_] ??= args[1] ? args[1].members.sddl : 'inherited';
            return null;
        }
        case 'io.path.getfilenamewithoutextension': return args[0].split('\\').pop().replace(/\.[^.]*$/, '');
        case 'io.path.getextension': return (/\.[^.\\]*$/.exec(args[0]) ?? [''])[0];
        case 'io.path.changeextension': return args[0].replace(/\.[^.\\]*$/, args[1]);
        case 'diskshiftdevice.remove': this.removeDevice(args[0]); return undefined;
        default: throw new Error(`[${type}]::${name}() is not known here`);
        }
    }

    // -- files and registry, by path in small letters
    isRegistry(path) { return low(path).startsWith('hklm:'); }
    write(path, content, encoding) {
        const mark = encoding instanceof Native ? encoding.members.mark : encoding === 'unicode';
        this.world.files[low(path)] = (mark ? '\ufeff' : '') + content;
    }
    read(path) {
        const content = this.world.files[low(path)];
        if (content === undefined) throw new PsError(`${path}: no such file`);
        return content.replace(/^\ufeff/, '');
    }
    key(path) { return this.world.registry[low(path)]; }
    keyExists(path) {
        return Object.keys(this.world.registry).some((k) => k === low(path) || k.startsWith(low(path) + '\\'));
    }
    makeKey(path) { return (this.world.registry[low(path)] ??= {}); }
    registry(path, name) {
        const values = this.key(path) ?? {};
        const found = Object.keys(values).find((k) => k.toLowerCase() === text(name).toLowerCase());
        return found === undefined ? null : values[found][1];
    }
    setRegistry(path, name, type, value) {
        const values = this.makeKey(path);
        const found = Object.keys(values).find((k) => k.toLowerCase() === text(name).toLowerCase()) ?? name;
        const number_ = type.toLowerCase() === 'dword';
        if (number_ && typeof value !== 'number') throw new PsError(`${path}\\${name}: DWord of ${typeof value}`);
        values[found] = [type, type.toLowerCase() === 'multistring' ? asList(value).map(text) : number_ ? value : text(value)];
    }
    children(path) {
        const names = new Map();
        for (const k of Object.keys(this.world.registry)) {
            if (!k.startsWith(low(path) + '\\')) continue;
            const name = k.slice(low(path).length + 1).split('\\')[0];
            names.set(name, name);
        }
        return [...names.values()].sort().map((name) => this.registryItem(`${low(path)}\\${name}`));
    }
    registryItem(path) {
        return new Native('RegistryKey', {
            pschildname: path.split('\\').pop().replace(/\{[0-9a-f-]+\}/g, (g) => g.toUpperCase()),
            getvalue: (name, otherwise) => this.registry(path, name) ?? otherwise ?? null,
            getvaluekind: (name) => Object.entries(this.key(path) ?? {}).find((e) => e[0].toLowerCase() === name.toLowerCase())[1][0],
            getvaluenames: () => Object.keys(this.key(path) ?? {}),
        });
    }

    // -- CIM
    cim(path, object) {
        const members = Object.fromEntries(classes[path].split(' ').map((n) => [n.toLowerCase(), null]));
        for (const [name, value] of Object.entries(object)) members[name.toLowerCase()] = value;
        const instance = new Native(path.split(':')[1], members);
        instance.path = path;
        return instance;
    }
    hasClass(path) {
        if (!(path in classes)) throw new Error(`class ${path} is not known here`);
        const modern = !path.startsWith('root/cimv2:');
        if (path.includes('encryptable')) return this.world.bitlocker !== undefined;
        return !(modern && this.world.old);
    }
    configuration(adapter) {
        const at = INTERFACES + adapter.GUID;
        const addresses = this.registry(at, 'EnableDHCP') === 0
            ? asList(this.registry(at, 'IPAddress')).map((a, i) => [a, asList(this.registry(at, 'SubnetMask'))[i]])
            : (adapter.lease ?? []).map((l) => [l[0], maskOf(l[1])]);
        const all = [...addresses, ...this.world.ipv6.filter((a) => a.guid === adapter.GUID).map((a) => [a.address, `${a.prefix}`]),
            ...(adapter.lease6 ?? []).map((l) => [l[0], `${l[1]}`])];
        const enabled = adapter.connected !== false;
        return { InterfaceIndex: adapter.index, IPEnabled: enabled, SettingID: adapter.GUID,
            IPAddress: enabled && all.length ? all.map((a) => a[0]) : null,
            IPSubnet: enabled && all.length ? all.map((a) => a[1]) : null };
    }
    instances(path) {
        const w = this.world;
        switch (path) {
        case 'root/cimv2:win32_operatingsystem': return [w.system];
        case 'root/cimv2:win32_computersystem': return [w.computer];
        case 'root/cimv2:win32_computersystemproduct': return [{ UUID: w.uuid ?? '4C4C4544-0000' }];
        case 'root/cimv2:win32_networkadapter': return w.adapters.map((a) => ({ MACAddress: a.MACAddress,
            NetConnectionID: a.name, NetConnectionStatus: a.connected === false ? 7 : 2, NetEnabled: true, GUID: a.GUID,
            InterfaceIndex: a.index, Index: a.index, PNPDeviceID: a.device, ServiceName: a.driver }));
        case 'root/cimv2:win32_networkadapterconfiguration': return w.adapters.map((a) => this.configuration(a));
        case 'root/cimv2:win32_pnpentity':
            return w.adapters.map((a) => ({ DeviceID: a.device, Present: w.old ? null : true }));
        case 'root/cimv2:win32_volume': return w.volumes;
        case 'root/cimv2:win32_diskdrive': return w.disks.map((d) => ({ Index: d.Number, Signature: d.Signature }));
        case 'root/cimv2:win32_logicaldisktopartition': return w.volumes.filter((v) => v.DriveLetter && v.DriveType === 3)
            .map((v) => ({ Antecedent: this.reference(`Disk #${v.disk}, Partition #${v.partition}`), Dependent: this.reference(v.DriveLetter) }));
        case 'root/standardcimv2:msft_netadapter':
            return w.adapters.map((a) => ({ InterfaceIndex: a.index, PermanentAddress: a.permanent ?? a.MACAddress.replace(/:/g, '') }));
        case 'root/standardcimv2:msft_netipinterface':
            return w.adapters.map((a) => ({ InterfaceIndex: a.index, AddressFamily: 23, AutomaticMetric: a.metric6 ? 0 : 1, InterfaceMetric: a.metric6 ?? 5 }));
        case 'root/microsoft/windows/storage:msft_disk': return w.disks;
        case 'root/cimv2/security/microsoftvolumeencryption:win32_encryptablevolume': return w.bitlocker;
        default: throw new Error(`${path} cannot be listed`);
        }
    }
    reference(id) { return new Native('reference', { deviceid: id }); }
    getInstances(p) {
        const path = `${low(p.namespace ?? 'root/cimv2')}:${low(p.classname)}`;
        if (!this.hasClass(path)) throw new PsError(`invalid class: ${path}`);
        let list = this.instances(path).map((o) => Object.assign(this.cim(path, o), { origin: o }));
        for (const part of p.filter ? p.filter.split(' AND ') : []) {
            const [name, value] = part.split('=');
            if (!(name.toLowerCase() in (list[0]?.members ?? { [name.toLowerCase()]: 0 }))) throw new PsError(`invalid query: ${p.filter}`);
            list = list.filter((i) => text(i.members[name.toLowerCase()]) === value);
        }
        return list;
    }
    setInstance(instance, property) {
        const w = this.world;
        const [name, value] = property.entries()[0];
        if (this.refuses(`set-${name}`)) throw new PsError(`${name}: refused`);
        if (instance.type === 'win32_networkadapter' && name === 'NetConnectionID') {
            const adapter = w.adapters.find((a) => a.GUID === instance.members.guid);
            for (const key of this.children(CONNECTIONS)) {
                const at = `${CONNECTIONS}\\${key.members.pschildname}\\Connection`;
                if (low(this.registry(at, 'Name')) === low(value) && key.members.pschildname !== adapter.GUID) {
                    throw new PsError(`a connection named ${value} exists`);
                }
            }
            adapter.name = value;
            this.setRegistry(`${CONNECTIONS}\\${adapter.GUID}\\Connection`, 'Name', 'String', value);
            return;
        }
        if (instance.type === 'win32_volume' && name === 'DriveLetter') {
            if (value && w.volumes.some((v) => v.DriveLetter === value)) throw new PsError(`${value} is in use`);
            w.volumes.find((v) => v.DeviceID === instance.members.deviceid).DriveLetter = value;
            return;
        }
        if (instance.type === 'msft_netipinterface') {
            const metric = property.get('AutomaticMetric') === 0 ? property.get('InterfaceMetric') : undefined;
            w.adapters.find((a) => a.index === instance.members.interfaceindex).metric6 = metric;
            return;
        }
        throw new PsError(`${instance.type}.${name} cannot be set`);
    }
    invoke(p) {
        const args = p.arguments ?? new Dictionary();
        const result = (value) => new Native('result', { returnvalue: value });
        if (this.refuses(p.methodname)) return result(66);
        if (p.classname) {
            if (low(p.classname) !== 'win32_process') throw new Error(p.classname);
            this.world.started.push(args.get('CommandLine'));
            return result(0);
        }
        const { type, members, origin } = p.inputobject;
        if (type === 'msft_disk') {
            if (low(p.methodname) === 'setattributes') origin.IsReadOnly = args.get('IsReadOnly');
            else origin.IsOffline = low(p.methodname) === 'offline';
            return result(0);
        }
        if (type !== 'win32_networkadapterconfiguration') throw new Error(`${type}.${p.methodname}`);
        const adapter = this.world.adapters.find((a) => a.index === members.interfaceindex);
        const at = INTERFACES + adapter.GUID;
        if (adapter.connected === false) return result(84);
        switch (low(p.methodname)) {
        case 'enablestatic':
            this.setRegistry(at, 'EnableDHCP', 'DWord', 0);
            this.setRegistry(at, 'IPAddress', 'MultiString', args.get('IPAddress'));
            this.setRegistry(at, 'SubnetMask', 'MultiString', args.get('SubnetMask'));
            return result(0);
        case 'enabledhcp':
            this.dhcp(at);
            return result(0);
        case 'setgateways':
            if (args.get('GatewayCostMetric').some((m) => m < 1 || m > 9999)) return result(70);
            this.setRegistry(at, 'DefaultGateway', 'MultiString', args.get('DefaultIPGateway'));
            this.setRegistry(at, 'DefaultGatewayMetric', 'MultiString', args.get('GatewayCostMetric'));
            return result(0);
        case 'setdnsserversearchorder':
            this.setRegistry(at, 'NameServer', 'String', asList(args.get('DNSServerSearchOrder')).join(','));
            return result(0);
        default: throw new Error(`${type}.${p.methodname}`);
        }
    }
    dhcp(at) {
        this.setRegistry(at, 'EnableDHCP', 'DWord', 1);
        for (const name of ['IPAddress', 'SubnetMask', 'DefaultGateway', 'DefaultGatewayMetric']) delete this.key(at)[name];
    }
    removeDevice(instance) {
        if (this.world.adapters.some((a) => low(a.device) === low(instance))) throw new PsError(`${instance} is in use`);
        for (const key of this.children(CONNECTIONS)) {
            const guid = key.members.pschildname;
            if (low(this.registry(`${CONNECTIONS}\\${guid}\\Connection`, 'PnPInstanceId')) !== low(instance)) continue;
            for (const path of [`${CONNECTIONS}\\${guid}\\connection`, INTERFACES + guid, INTERFACES6 + guid]) delete this.world.registry[low(path)];
            this.world.removed.push(instance);
            return;
        }
        throw new PsError(`${instance}: no such device`);
    }

    // -- programs
    program(name, words) {
        this.exit = 0;
        this.world.programs.push([name, ...words].join(' '));
        if (this.refuses(name)) { this.exit = 1; return ['refused']; }
        switch (name) {
        case 'netsh.exe': return this.netsh(words);
        case 'schtasks.exe': return this.schtasks(words);
        case 'shutdown.exe': this.world.shutdown = words.join(' '); return [];
        case 'pnputil.exe': return this.pnputil(words);
        case 'diskpart.exe':
            this.world.diskpart = this.read(words[1]);
            return [];
        default: throw new Error(`program ${name} is not known here`);
        }
    }
    schtasks(words) {
        if (words[0] === '/Query') { this.exit = this.world.task ? 0 : 1; return []; }
        if (words[0] === '/Delete') { this.world.task = null; return []; }
        if (words[0] === '/Create') { this.world.task = this.read(words[words.indexOf('/XML') + 1]); return []; }
        throw new Error(`schtasks ${words.join(' ')}`);
    }
    pnputil(words) {
        if (words[0] === '-d') { delete this.world.files[low('C:\\Windows\\INF\\' + words[1])]; return []; }
        if (words[0] !== '-i' || words[1] !== '-a') throw new Error(`pnputil ${words.join(' ')}`);
        const content = this.read(words[2]);
        const published = Object.keys(this.world.files).filter((f) => /\\inf\\oem\d+\.inf$/.test(f));
        if (!published.some((f) => this.world.files[f] === content)) {
            let n = 0;
            while (published.includes(`c:\\windows\\inf\\oem${n}.inf`)) n++;
            this.world.files[`c:\\windows\\inf\\oem${n}.inf`] = content;
        }
        this.exit = 259;
        return [];
    }
    netsh(words) {
        const refuse = (why) => { this.exit = 1; return [`netsh ${words.join(' ')}: ${why}`]; };
        const [context, family, verb, ...rest] = words;
        if (context !== 'interface' || !['ipv4', 'ipv6'].includes(family)) return refuse('context');
        if (verb === 'dump' && rest.length === 0) return this.dump(family);
        const [noun, ...pairs] = rest;
        const given = {};
        for (const pair of pairs) {
            const at = pair.indexOf('=');
            if (at < 1) return refuse(pair);
            given[pair.slice(0, at)] = pair.slice(at + 1);
        }
        const adapter = this.world.adapters.find((a) => String(a.index) === (given.interface ?? given.name));
        if (!adapter) return refuse('no such interface');
        const at = (family === 'ipv4' ? INTERFACES : INTERFACES6) + adapter.GUID;
        const { ipv6, routes } = this.world;
        const servers = () => (this.registry(at, 'NameServer') ?? '').split(',').filter((s) => s);
        switch (`${family} ${verb} ${noun}`) {
        case 'ipv6 add address': {
            const [address, prefix] = given.address.split('/');
            if (ipv6.some((a) => a.guid === adapter.GUID && a.address === address)) return refuse('exists');
            ipv6.push({ guid: adapter.GUID, address, prefix: Number(prefix) });
            return [];
        }
        case 'ipv6 delete address': {
            const i = ipv6.findIndex((a) => a.guid === adapter.GUID && a.address === given.address);
            if (i < 0) return refuse('not found');
            ipv6.splice(i, 1);
            return [];
        }
        case 'ipv4 add route': case 'ipv6 add route':
            if (!given.prefix) return refuse('prefix');
            if (family === 'ipv4' && given.prefix === '0.0.0.0/0') {
                this.setRegistry(at, 'DefaultGateway', 'MultiString', [...asList(this.registry(at, 'DefaultGateway')), given.nexthop]);
                this.setRegistry(at, 'DefaultGatewayMetric', 'MultiString',
                    [...asList(this.registry(at, 'DefaultGatewayMetric')), given.metric ?? '0']);
                return [];
            }
            if (routes.some((r) => r.guid === adapter.GUID && r.prefix === given.prefix && r.nexthop === (given.nexthop ?? null))) return refuse('exists');
            routes.push({ guid: adapter.GUID, family, prefix: given.prefix, nexthop: given.nexthop ?? null, metric: given.metric ? Number(given.metric) : null });
            return [];
        case 'ipv4 delete route': case 'ipv6 delete route': {
            const i = routes.findIndex((r) => r.guid === adapter.GUID && r.prefix === given.prefix && r.nexthop === (given.nexthop ?? null));
            if (i < 0) return refuse('not found');
            routes.splice(i, 1);
            return [];
        }
        case 'ipv4 set address':
            if (given.source === 'dhcp') { this.dhcp(at); return []; }
            this.setRegistry(at, 'EnableDHCP', 'DWord', 0);
            this.setRegistry(at, 'IPAddress', 'MultiString', [given.address]);
            this.setRegistry(at, 'SubnetMask', 'MultiString', [given.mask]);
            return [];
        case 'ipv4 add address':
            this.setRegistry(at, 'IPAddress', 'MultiString', [...asList(this.registry(at, 'IPAddress')), given.address]);
            this.setRegistry(at, 'SubnetMask', 'MultiString', [...asList(this.registry(at, 'SubnetMask')), given.mask]);
            return [];
        case 'ipv4 delete dnsserver': case 'ipv6 delete dnsserver':
            this.setRegistry(at, 'NameServer', 'String', '');
            return [];
        case 'ipv4 add dnsserver': case 'ipv6 add dnsserver':
            this.setRegistry(at, 'NameServer', 'String', [...servers(), given.address].join(','));
            return [];
        default: return refuse('not known here');
        }
    }
    // As Windows prints it, headings in its own language.
    dump(family) {
        const lines = ['# ----------------------------------', '# IPv4-Konfiguration', `pushd interface ${family}`, '', 'reset', 'set global'];
        for (const a of this.world.adapters) {
            lines.push(`set interface interface="${a.name}" forwarding=enabled advertise=enabled nud=enabled ignoredefaultroutes=disabled`);
            const at = INTERFACES + a.GUID;
            if (family === 'ipv4' && this.registry(at, 'EnableDHCP') === 0) {
                for (const gateway of asList(this.registry(at, 'DefaultGateway'))) {
                    lines.push(`add route prefix=0.0.0.0/0 interface="${a.name}" nexthop=${gateway} publish=Yes`);
                }
                asList(this.registry(at, 'IPAddress')).forEach((address, i) => lines.push(
                    `add address name="${a.name}" address=${address} mask=${asList(this.registry(at, 'SubnetMask'))[i]}`));
            }
            for (const r of this.world.routes.filter((r_) => r_.guid === a.GUID && r_.family === family)) {
                lines.push(`add route prefix=${r.prefix} interface="${a.name}"` + (r.nexthop ? ` nexthop=${r.nexthop}` : '') +
                    (r.metric ? ` metric=${r.metric}` : '') + ' publish=Yes');
            }
            for (const v of family === 'ipv6' ? this.world.ipv6.filter((x) => x.guid === a.GUID) : []) {
                lines.push(`add address interface="${a.name}" address=${v.address}${this.world.old ? '' : '/' + v.prefix}`);
            }
        }
        return [...lines, '', 'popd', '# Ende der Konfiguration'];
    }
    startProcess(p) {
        const name = low(p.filepath).split('\\').pop();
        this.world.programs.push(`${p.filepath} ${p.argumentlist}`);
        let code = 0;
        if (name === 'msiexec.exe') {
            const product = /\{[0-9A-Fa-f-]+\}/.exec(p.argumentlist)?.[0];
            const root = 'HKLM:\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\' + product;
            if (p.argumentlist.startsWith('/x')) {
                if (this.refuses('msiexec.exe')) code = 1603;
                else delete this.world.registry[low(root)];
            }
        } else if (name === 'powershell.exe' && / -Undo$/.test(p.argumentlist)) {
            this.world.undone.push(p.argumentlist);
        }
        return new Native('Process', { exitcode: code, waitforexit: () => true, kill: () => undefined });
    }

    // -- commands
    bind(word, positional, named) {
        const known = parameters[word];
        if (!known) throw new PsError(`the term '${word}' is not recognized as the name of a cmdlet, function or program`);
        const p = {};
        for (const [name, value] of named) {
            if (!known.includes(name)) throw new Error(`${word}: no parameter -${name}`);
            p[name] = value;
        }
        const free = known.filter((n) => !(n in p) && !switches.has(n));
        positional.forEach((value, i) => { p[i === 0 && fixed[word] ? fixed[word] : free[i]] = value; });
        if (positional.length > free.length) throw new Error(`${word}: too many arguments`);
        return p;
    }
    command(word, positional, named, input, interpreter) {
        const system = /^c:\\windows\\system32\\([a-z0-9.]+)$/.exec(word);
        if (system) return this.program(system[1], positional.flatMap(asList).map(text));
        const p = this.bind(word, positional, named);
        const path = p.literalpath ?? p.path;
        switch (word) {
        case 'write-host': this.print(text(p.object)); return undefined;
        case 'get-date': return this.date(this.clock);
        case 'start-sleep': this.clock += p.seconds; return undefined;
        case 'wait-process': return undefined;
        case 'join-path': return text(p.path).replace(/\\$/, '') + '\\' + text(p.childpath).replace(/^\\/, '');
        case 'split-path': return text(p.path).split('\\').pop();
        case 'test-path':
            if (this.isRegistry(path)) return this.keyExists(path);
            if (p.pathtype === 'Leaf') return low(path) in this.world.files;
            return low(path) in this.world.files || low(path) in this.world.directories ||
                Object.keys(this.world.files).some((f) => f.startsWith(low(path) + '\\'));
        case 'add-content': {
            const before = this.world.files[low(path)] ?? '\ufeff';
            this.world.files[low(path)] = before + text(p.value) + '\r\n';
            return undefined;
        }
        case 'get-content': {
            const content = this.read(path);
            return p.raw ? content : content.replace(/\r?\n$/, '').split(/\r?\n/);
        }
        case 'convertto-json': return toJson(p.inputobject, p.compress);
        case 'convertfrom-json': return fromJson(text(p.inputobject));
        case 'new-object': return this.create(text(p.typename), asList(p.argumentlist));
        case 'start-process': return this.startProcess(p);
        case 'remove-item':
            if (this.isRegistry(path)) delete this.world.registry[low(path)];
            else if (low(path) in this.world.files) delete this.world.files[low(path)];
            else if (low(path) in this.world.directories && p.recurse) {
                delete this.world.directories[low(path)];
                for (const f of Object.keys(this.world.files)) if (f.startsWith(low(path) + '\\')) delete this.world.files[f];
            }
            else if (p.erroraction !== 'SilentlyContinue') throw new PsError(`${path}: no such file`);
            return undefined;
        case 'get-cimclass':
            if (!this.hasClass(`${low(p.namespace)}:${low(p.classname)}`)) throw new PsError('not found');
            return this.reference('class');
        case 'get-ciminstance': return this.getInstances(p);
        case 'set-ciminstance': this.permitted(word); this.setInstance(p.inputobject, p.property); return undefined;
        case 'invoke-cimmethod': return this.invoke(p);
        case 'get-item':
            if (!this.isRegistry(path) || !this.keyExists(path)) throw new PsError(`${path}: no such key`);
            return this.registryItem(low(path));
        case 'new-item': this.makeKey(p.path); return this.registryItem(low(p.path));
        case 'new-itemproperty':
            if (!this.keyExists(path)) throw new PsError(`${path}: no such key`);
            this.setRegistry(path, p.name, p.propertytype, p.value);
            return null;
        case 'remove-itemproperty': {
            const values = this.key(path);
            const found = Object.keys(values ?? {}).find((k) => k.toLowerCase() === low(p.name));
            if (!found) throw new PsError(`${path}\\${p.name}: no such value`);
            delete values[found];
            return undefined;
        }
        case 'get-childitem': return this.list(p, path);
        case 'get-acl': return new Native('DirectorySecurity', { getowner: () => new Native('SecurityIdentifier', {
            value: this.world.directories[low(path)] === 'a user' ? 'S-1-5-21-1-2-3-1001' : 'S-1-5-32-544' }) });
        case 'get-executionpolicy':
            return Object.entries(this.world.policy ?? { MachinePolicy: 'Undefined', UserPolicy: 'Undefined', Process: 'Bypass' })
                .map(([scope, policy]) => new Native('Policy', { scope, executionpolicy: policy }));
        case 'copy-item': this.world.files[low(p.destination)] = this.world.files[low(path)] ?? this.read(path); return undefined;
        case 'get-filehash': return new Native('Hash', { hash: createHash('sha256').update(this.read(path)).digest('hex') });
        case 'mount-diskimage': this.world.mounted = text(p.imagepath); return this.reference('image');
        case 'dismount-diskimage': this.world.mounted = null; return undefined;
        case 'get-volume': return new Native('Volume', { driveletter: 'X' });
        case 'add-type': this.permitted(word); this.types.add('diskshiftdevice'); return undefined;
        default: throw new Error(`${word}: nothing done`);
        }
    }
    list(p, path) {
        if (this.isRegistry(path)) return this.children(path);
        const [folder, pattern] = path.includes('*') ? [low(path).replace(/\\[^\\]*$/, ''), low(path).split('\\').pop()] : [low(path), low(p.filter ?? '*')];
        const match = new RegExp('^' + pattern.replace(/[.]/g, '\\.').replace(/\*/g, '.*') + '$');
        return Object.keys(this.world.files).filter((f) => f.startsWith(folder + '\\') && match.test(f.split('\\').pop()) &&
            (p.recurse || !f.slice(folder.length + 1).includes('\\'))).sort()
            .map((f) => new Native('FileInfo', { name: f.split('\\').pop(), fullname: f }));
    }
    date(seconds) {
        const stamp = new Date(Date.UTC(2026, 2, 1, 12, 0, 0) + seconds * 1000).toISOString().slice(0, 19);
        const date = new Native('DateTime', { touniversaltime: () => date, tostring: () => stamp,
            addseconds: (n) => this.date(seconds + n) });
        date.valueOf = () => seconds;
        return date;
    }
    create(type, args) {
        this.permitted('New-Object');
        switch (type.toLowerCase().replace(/^system\./, '')) {
        case 'text.utf8encoding': return new Native('UTF8Encoding', { mark: args[0] });
        case 'security.accesscontrol.directorysecurity': {
            const security = new Native('DirectorySecurity', { sddl: '' });
            security.members.setsecuritydescriptorsddlform = (s) => { security.members.sddl = s; };
            return security;
        }
        case 'security.principal.windowsprincipal':
            return new Native('WindowsPrincipal', { isinrole: () => !this.world.account });
        case 'threading.mutex': return new Native('Mutex', { waitone: () => true });
        case 'io.ports.serialport': {
            const port = new Native('SerialPort', { writetimeout: 0, open: () => undefined, close: () => undefined,
                write: (s) => { this.world.ports[low(args[0])] = (this.world.ports[low(args[0])] ?? '') + s; } });
            return port;
        }
        default: throw new Error(`New-Object ${type} is not known here`);
        }
    }
}

function load(file) {
    const world = JSON.parse(readFileSync(file));
    for (const name of ['registry', 'files', 'directories', 'ports']) {
        world[name] = Object.fromEntries(Object.entries(world[name] ?? {}).map(([k, v]) => [low(k), v]));
    }
    for (const name of ['adapters', 'ipv6', 'routes', 'volumes', 'disks', 'programs', 'started', 'removed', 'undone']) world[name] ??= [];
    for (const a of world.adapters) {
        const at = low(`${CONNECTIONS}\\${a.GUID}\\Connection`);
        world.registry[at] ??= { Name: ['String', a.name], PnPInstanceId: ['String', a.device] };
    }
    return world;
}

const [parser, worldFile, scriptFile, ...args] = process.argv.slice(2);
if (parser) {
    const world = load(worldFile);
    const source = readFileSync(scriptFile);
    const tree = JSON.parse(execFileSync(parser, ['tree', scriptFile], { maxBuffer: 1 << 28 }));
    const host = new Windows(world);
    const status = new Interpreter(source, tree, host).run(args);
    world.clock = host.clock;
    writeFileSync(worldFile, JSON.stringify(world, null, 1) + '\n');
    process.exitCode = status;
}
