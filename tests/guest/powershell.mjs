// SPDX-License-Identifier: Apache-2.0
// Evaluates the part of PowerShell that guestscripts/windows uses, over the
// syntax tree that `powershell tree` prints. Whatever it does not know, be it a
// word, a command, a parameter or a member, is an error: nothing is guessed.
// The host (windows.mjs) is the Windows that commands see.

export class Dictionary {
    constructor() { this.map = new Map(); }
    static from(object) {
        const out = new Dictionary();
        for (const [key, value] of Object.entries(object)) out.set(key, value);
        return out;
    }
    key(name) { return String(name).toLowerCase(); }
    get(name) { const e = this.map.get(this.key(name)); return e ? e[1] : null; }
    set(name, value) {
        const e = this.map.get(this.key(name));
        if (e) e[1] = value; else this.map.set(this.key(name), [String(name), value]);
    }
    has(name) { return this.map.has(this.key(name)); }
    keys() { return [...this.map.values()].map((e) => e[0]); }
    entries() { return [...this.map.values()]; }
}
export class PsObject extends Dictionary {} // [pscustomobject], of JSON
export class Native {                       // a .NET object: what the host gives it
    constructor(type, members) { this.type = type; this.members = members; }
}
class Block { constructor(node, parameters) { this.node = node; this.parameters = parameters; } }
class TypeName { constructor(name) { this.name = name.toLowerCase(); } }
export class PsError extends Error {}
class Flow extends Error { constructor(kind, value) { super(kind); this.kind = kind; this.value = value; } }

const only = (list) => (list.length === 0 ? null : list.length === 1 ? list[0] : list);
export const asList = (v) => (v === null || v === undefined ? [] : Array.isArray(v) ? v : [v]);
const isNull = (v) => v === null || v === undefined;

export function truthy(v) {
    if (isNull(v)) return false;
    if (Array.isArray(v)) return v.length === 0 ? false : v.length === 1 ? truthy(v[0]) : true;
    if (typeof v === 'boolean') return v;
    if (typeof v === 'number') return v !== 0;
    return v !== '';
}
export function text(v) {
    if (isNull(v)) return '';
    if (typeof v === 'boolean') return v ? 'True' : 'False';
    if (Array.isArray(v)) return v.map(text).join(' ');
    if (v instanceof PsObject) return `@{${v.entries().map((e) => `${e[0]}=${text(e[1])}`).join('; ')}}`;
    if (v instanceof Dictionary) return 'System.Collections.Specialized.OrderedDictionary';
    if (v instanceof Native) return v.members.text ?? v.type;
    return String(v);
}
function number(v) {
    if (isNull(v) || v === '') return 0;
    if (typeof v === 'boolean') return v ? 1 : 0;
    const n = /^\s*0x[0-9a-f]+\s*$/i.test(v) ? parseInt(v, 16) : Number(v);
    if (Number.isNaN(n)) throw new PsError(`cannot convert "${text(v)}" to a number`);
    return n;
}
function equal(a, b) {
    if (isNull(a) || isNull(b)) return isNull(a) && isNull(b);
    if (typeof a === 'number') { try { return a === number(b); } catch { return false; } }
    if (typeof a === 'boolean') return a === truthy(b);
    if (typeof a === 'string') return a.toLowerCase() === text(b).toLowerCase();
    return a === b;
}
const caseEqual = (a, b) => (typeof a === 'string' ? a === text(b) : equal(a, b));
// .NET's regular expressions and JavaScript's agree on what is used here.
const expression = (pattern, flags) => new RegExp(text(pattern), flags);
const wild = (pattern) => new RegExp('^' + text(pattern).replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '[^]*').replace(/\?/g, '.') + '$', 'i');
const replacement = (s) => text(s).replace(/\$0/g, '$$&');

function format(pattern, values) {
    return text(pattern).replace(/\{\{|\}\}|\{(\d+)(?::([^}]+))?\}/g, (all, index, spec) => {
        if (all === '{{') return '{';
        if (all === '}}') return '}';
        if (Number(index) >= values.length) throw new PsError(`-f: no value for ${all}`);
        const value = values[Number(index)];
        if (spec === undefined) return text(value);
        if (/^x\d+$/.test(spec)) return number(value).toString(16).padStart(Number(spec.slice(1)), '0');
        throw new PsError(`-f: ${spec} is not known here`);
    });
}

// What 5.1 writes, but for its width: it escapes these.
export function toJson(value, compress) {
    const plain = (v, depth) => {
        if (depth > 8) throw new PsError('ConvertTo-Json: deeper than -Depth');
        if (isNull(v)) return null;
        if (Array.isArray(v)) return v.map((i) => plain(i, depth + 1));
        if (v instanceof Dictionary) {
            return Object.fromEntries(v.entries().map((e) => [e[0], plain(e[1], depth + 1)]));
        }
        if (v instanceof Native) throw new PsError(`ConvertTo-Json: a ${v.type}`);
        return v;
    };
    return JSON.stringify(plain(value, 0), null, compress ? 0 : 4)
        .replace(/[<>&'\u0085\u2028\u2029]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
}
export function fromJson(string) {
    const wrap = (v) => {
        if (Array.isArray(v)) return v.map(wrap);
        if (v !== null && typeof v === 'object') {
            const out = new PsObject();
            for (const [key, member] of Object.entries(v)) out.set(key, wrap(member));
            return out;
        }
        return v;
    };
    try { return wrap(JSON.parse(string)); } catch (e) { throw new PsError(`ConvertFrom-Json: ${e.message}`); }
}

export class Interpreter {
    constructor(source, tree, host) {
        this.source = source;      // Buffer
        this.tree = tree;
        this.host = host;
        this.functions = new Map();
        this.script = this.scope = { variables: new Map(), parent: null };
        this.output = [];
        for (const [name, value] of [['true', true], ['false', false], ['null', null]]) {
            this.script.variables.set(name, value);
        }
    }
    run(args) {
        this.set('args', args);
        try {
            this.statements(this.tree, this.output);
        } catch (e) {
            if (e instanceof Flow && e.kind === 'exit') return e.value;
            if (e instanceof Flow && e.kind === 'return') return 0;
            if (e instanceof PsError) { this.host.print(`uncaught: ${e.message}`); return 1; }
            throw e;
        }
        return 0;
    }
    fail(node, message) {
        return new Error(`line ${node[3]}: ${message}: ${this.slice(node).slice(0, 100)}`);
    }
    slice(node) { return this.source.subarray(node[1], node[2]).toString(); }
    kids(node) { return node[4].filter((n) => n[0] !== 'comment'); }
    child(node, type) { return node[4].find((n) => n[0] === type); }

    // -- variables: dynamic scope, as PowerShell's
    find(name) {
        for (let scope = this.scope; scope; scope = scope.parent) {
            if (scope.variables.has(name)) return scope;
        }
        return null;
    }
    get(name, node) {
        const [scope, plain] = this.name(name);
        if (scope === 'env') return this.host.environment(plain);
        const at = scope === 'script' ? this.script : this.find(plain);
        if (at && at.variables.has(plain)) return at.variables.get(plain);
        const automatic = this.host.automatic(plain);
        if (automatic !== undefined) return automatic;
        throw this.fail(node, `variable $${plain} was not set`);
    }
    set(name, value) {
        const [scope, plain] = this.name(name);
        if (plain === 'null') return;
        if (scope === 'env') throw new Error('$env: is not set here');
        (scope === 'script' ? this.script : this.scope).variables.set(plain, value);
    }
    name(raw) {
        const parts = raw.replace(/^\$/, '').replace(/^\{|\}$/g, '').toLowerCase().split(':');
        return parts.length === 2 ? parts : ['', parts[0]];
    }

    // -- statements
    statements(node, out) { for (const child of this.kids(node)) this.statement(child, out); }
    value(node) { const out = []; this.statement(node, out); return only(out); }
    statement(node, out) {
        const kids = this.kids(node);
        switch (node[0]) {
        case 'program': case 'statement_list': case 'script_block': case 'script_block_body':
            return this.statements(node, out);
        case 'statement_block':
            for (const child of kids) if (child[0] === 'statement_list') this.statements(child, out);
            return undefined;
        case ';': case 'empty_statement': return undefined;
        case 'function_statement': return this.define(node);
        case 'if_statement': return this.conditional(node, out);
        case 'foreach_statement': {
            const items = asList(this.value(kids[4]));
            for (const item of items) {
                this.set(this.slice(kids[2]), item);
                if (this.loop(this.child(node, 'statement_block'), out)) break;
            }
            return undefined;
        }
        case 'while_statement':
            while (truthy(this.value(this.kids(this.child(node, 'while_condition'))[0]))) {
                if (this.loop(this.child(node, 'statement_block'), out)) break;
            }
            return undefined;
        case 'for_statement':
            this.value(this.child(node, 'for_initializer')[4][0]);
            while (truthy(this.value(this.child(node, 'for_condition')[4][0]))) {
                if (this.loop(this.child(node, 'statement_block'), out)) break;
                this.value(this.child(node, 'for_iterator')[4][0]);
            }
            return undefined;
        case 'switch_statement': {
            const subject = this.value(this.kids(this.child(node, 'switch_condition'))[1]);
            for (const clause of this.kids(this.child(this.child(node, 'switch_body'), 'switch_clauses'))) {
                const condition = this.child(clause, 'switch_clause_condition');
                if (this.slice(condition) === 'default' ||
                    equal(subject, this.value(condition[4][0]))) {
                    return this.statement(this.child(clause, 'statement_block'), out);
                }
            }
            return undefined;
        }
        case 'try_statement': return this.attempt(node, out);
        case 'flow_control_statement': {
            const word = kids[0][0];
            if (word === 'return') {
                if (kids[1]) this.statement(kids[1], out);
                throw new Flow('return');
            }
            const value = kids[1] ? this.value(kids[1]) : null;
            if (word === 'throw') {
                if (isNull(value)) throw this.rethrown;
                throw new PsError(text(value));
            }
            throw new Flow(word, word === 'exit' ? number(value) : null);
        }
        case 'pipeline':
            if (kids.length === 1) return this.statement(kids[0], out);
            throw this.fail(node, 'pipeline');
        case 'pipeline_chain': return this.chain(kids, out);
        case 'assignment_expression': return this.assign(kids);
        case 'post_increment_expression': {
            const name = this.slice(kids[0]);
            this.set(name, this.get(name, node) + 1);
            return undefined;
        }
        case 'command': return this.chain([node], out);
        default: {
            const inner = this.reduce(node);
            if (inner !== node) return this.statement(inner, out);
            // A call of a method that returns nothing gives nothing.
            const result = this.evaluate(node);
            if (result === undefined) return undefined;
            if (Array.isArray(result)) out.push(...result); else out.push(result);
            return undefined;
        }
        }
    }
    define(node) {
        const parameters = [];
        const declaration = this.child(node, 'function_parameter_declaration');
        const list = declaration && this.child(declaration, 'parameter_list');
        for (const p of list ? list[4].filter((n) => n[0] === 'script_parameter') : []) {
            const attributes = this.child(p, 'attribute_list');
            const initial = this.child(p, 'script_parameter_default');
            parameters.push({
                name: this.slice(this.child(p, 'variable')).slice(1).toLowerCase(),
                type: attributes ? this.slice(attributes).replace(/^\[|\]$/g, '').toLowerCase() : '',
                initial: initial ? this.kids(initial)[1] : null,
            });
        }
        const name = this.slice(this.child(node, 'function_name')).toLowerCase();
        if (this.functions.has(name)) throw this.fail(node, 'function defined twice');
        const body = this.child(node, 'script_block') ?? ['empty', node[1], node[1], node[3], []];
        this.functions.set(name, { node: body, parameters, name });
    }
    conditional(node, out) {
        const kids = this.kids(node);
        if (truthy(this.value(kids[2]))) return this.statement(kids[4], out);
        const clauses = this.child(node, 'elseif_clauses');
        for (const clause of clauses ? this.kids(clauses) : []) {
            const parts = this.kids(clause);
            if (truthy(this.value(parts[2]))) return this.statement(parts[4], out);
        }
        const other = this.child(node, 'else_clause');
        return other ? this.statement(this.child(other, 'statement_block'), out) : undefined;
    }
    loop(block, out) {
        try { this.statement(block, out); } catch (e) {
            if (!(e instanceof Flow) || !['break', 'continue'].includes(e.kind)) throw e;
            return e.kind === 'break';
        }
        return false;
    }
    attempt(node, out) {
        const clauses = this.child(node, 'catch_clauses');
        const last = this.child(node, 'finally_clause');
        const scope = this.scope;
        try {
            this.statement(this.child(node, 'statement_block'), out);
        } catch (e) {
            this.scope = scope;
            const clause = e instanceof PsError && clauses && this.kids(clauses).find((c) => {
                const types = this.child(c, 'catch_type_list');
                return !types || (e.kind && this.slice(types).toLowerCase().includes(e.kind));
            });
            if (!clause) throw e;
            const before = this.rethrown;
            this.rethrown = e;
            this.set('_', new Native('ErrorRecord', {
                exception: new Native('Exception', { message: e.message, text: e.message }),
                text: e.message,
            }));
            this.statement(this.child(clause, 'statement_block'), out);
            this.rethrown = before;
        } finally {
            this.scope = scope;
            if (last) this.statement(this.child(last, 'statement_block'), out);
        }
    }
    assign(kids) {
        const [left, operator, right] = kids;
        let target = left;
        while (target[4].length === 1 && target[0] !== 'variable') target = target[4][0];
        const value = this.assigned(right);
        const word = this.slice(operator);
        const old = word === '+=' ? this.evaluate(target) : null;
        const result = word === '+=' ? this.add(old, value) : value;
        if (word !== '=' && word !== '+=') throw this.fail(operator, 'operator');
        if (target[0] === 'variable') return this.set(this.slice(target), result);
        const parts = this.kids(target);
        const object = this.evaluate(parts[0]);
        if (target[0] === 'element_access') {
            const index = this.evaluate(parts[2]);
            if (object instanceof Dictionary) object.set(text(index), result);
            else object[index] = result;
            return undefined;
        }
        if (target[0] === 'member_access') {
            const name = this.slice(parts[2]);
            if (object instanceof Dictionary) {
                if (object instanceof PsObject && !object.has(name)) throw this.fail(target, 'no member');
                object.set(name, result);
            } else if (object instanceof Native && name.toLowerCase() in object.members) {
                object.members[name.toLowerCase()] = result;
            } else throw this.fail(target, 'member cannot be set');
            return undefined;
        }
        throw this.fail(target, 'target of an assignment');
    }
    // An expression's value as it is; a command's output, one item unwrapped.
    assigned(node) {
        const inner = this.reduce(node);
        if (this.isStatement(inner)) return this.value(inner);
        const v = this.evaluate(inner);
        return v === undefined ? null : v;
    }
    isStatement(node) {
        return ['command', 'pipeline_chain', 'if_statement', 'switch_statement', 'foreach_statement',
            'statement_list', 'assignment_expression'].includes(node[0]);
    }
    reduce(node) {
        while (this.kids(node).length === 1 && /_expression$|^pipeline|^statement_list$|^assignment_value$|^argument_expression$/.test(node[0])) {
            node = this.kids(node)[0];
        }
        return node;
    }

    // -- pipelines
    chain(stages, out) {
        const parts = stages.filter((n) => n[0] !== '|');
        if (parts.length === 1 && parts[0][0] !== 'command') return this.statement(parts[0], out);
        let items = null;
        for (const part of parts) {
            const next = [];
            if (part[0] === 'command') this.command(part, items, next); else this.statement(part, next);
            items = next;
        }
        out.push(...items);
        return undefined;
    }
    command(node, input, out) {
        const elements = this.child(node, 'command_elements');
        const positional = [];
        const named = new Map();
        let pending = null;
        for (const e of elements ? this.kids(elements) : []) {
            if (e[0] === 'command_argument_sep') continue;
            if (e[0] === 'redirection') continue;
            if (e[0] === 'command_parameter') {
                if (pending) named.set(pending, true);
                pending = this.slice(e).slice(1).replace(/:$/, '').toLowerCase();
                continue;
            }
            const value = this.argument(e);
            if (pending && this.host.isSwitch(pending)) { named.set(pending, true); pending = null; }
            if (pending) { named.set(pending, value); pending = null; } else positional.push(value);
        }
        if (pending) named.set(pending, true);
        let name;
        const invoked = this.child(node, 'command_name_expr');
        if (invoked) {
            const target = this.evaluate(this.reduce(this.path(invoked)));
            if (target instanceof Block) return this.callBlock(target, positional, out);
            name = text(target);
        } else name = this.slice(this.child(node, 'command_name'));
        const definition = this.functions.get(name.toLowerCase());
        if (definition) return this.call(definition, positional, named, out);
        return this.builtin(name, positional, named, input, out, node);
    }
    path(node) {
        while (['command_name_expr', 'path_command_name'].includes(node[0])) node = this.kids(node)[0];
        return node;
    }
    argument(node) {
        const inner = this.reduce(node);
        if (inner[0] === 'argument_list') { // of New-Object TYPE(...)
            const list = this.child(inner, 'argument_expression_list');
            return this.kids(list).filter((n) => n[0] !== ',').map((n) => this.evaluate(this.reduce(n)));
        }
        if (['generic_token', 'command_token', 'simple_name', 'path_command_name_token'].includes(inner[0])) {
            return this.slice(inner);
        }
        return this.evaluate(inner);
    }
    call(definition, positional, named, out) {
        const scope = { variables: new Map(), parent: this.scope };
        const rest = [...positional];
        const given = new Map(named);
        for (const p of definition.parameters) {
            let value;
            if (given.has(p.name)) {
                value = given.get(p.name);
                given.delete(p.name);
            } else if (rest.length > 0) value = rest.shift();
            else if (p.initial) value = this.evaluate(this.reduce(p.initial));
            else value = null;
            scope.variables.set(p.name, this.convert(p.type, value));
        }
        if (rest.length > 0 || given.size > 0) {
            throw new Error(`${definition.name}: too many arguments: ${rest.map(text)} ${[...given.keys()]}`);
        }
        const caller = this.scope;
        this.scope = scope;
        try { this.statements(definition.node, out); } catch (e) {
            if (!(e instanceof Flow) || e.kind !== 'return') throw e;
        } finally { this.scope = caller; }
    }
    callBlock(block, args, out) {
        this.statements(block.node, out);
    }
    each(block, item) {
        const caller = this.scope;
        this.scope = { variables: new Map([['_', item]]), parent: caller };
        const out = [];
        try { this.statements(block.node, out); } finally { this.scope = caller; }
        return out;
    }
    builtin(name, positional, named, input, out, node) {
        const word = name.toLowerCase();
        switch (word) {
        case 'foreach-object':
            for (const item of input ?? []) out.push(...this.each(positional[0], item));
            return;
        case 'where-object':
            for (const item of input ?? []) if (truthy(only(this.each(positional[0], item)))) out.push(item);
            return;
        case 'sort-object':
            out.push(...[...(input ?? [])].sort((a, b) => (text(a).toLowerCase() < text(b).toLowerCase() ? -1 : 1)));
            return;
        case 'select-object': {
            const seen = [];
            for (const item of input ?? []) if (!seen.includes(item)) seen.push(item);
            if (!named.get('unique')) throw this.fail(node, 'parameters');
            out.push(...seen);
            return;
        }
        case 'out-null': case 'set-strictmode': return;
        default:
        }
        const result = this.host.command(word, positional, named, input, this);
        if (result === undefined) return;
        if (Array.isArray(result)) out.push(...result); else out.push(result);
    }
    convert(type, value) {
        switch (type) {
        case '': return value;
        case 'string': return text(value);
        case 'int': case 'uint32': return Math.round(number(value));
        case 'bool':
            if (typeof value === 'string') throw new PsError('cannot convert a string to bool');
            return truthy(value);
        case 'string[]': return isNull(value) ? null : asList(value).map(text);
        case 'int[]': case 'uint16[]': return asList(value).map((v) => Math.round(number(v)));
        default: throw new Error(`type [${type}] is not known here`);
        }
    }

    // -- expressions
    evaluate(node) {
        const kids = this.kids(node);
        switch (node[0].replace('_argument_expression', '_expression')) {
        case 'variable': return this.get(this.slice(node), node);
        case 'string_literal': return this.string(node);
        case 'integer_literal': case 'real_literal': return Number(this.slice(node));
        case 'hash_literal_expression': return this.hash(node);
        case 'array_expression': {
            const out = [];
            for (const k of kids.slice(1, -1)) this.arrayItems(k, out);
            return out;
        }
        case 'parenthesized_expression': return this.assigned(kids[1]);
        case 'sub_expression': return this.value(kids[1]);
        case 'script_block_expression': return new Block(this.child(node, 'script_block'));
        case 'array_literal_expression':
            if (kids.length > 1) return kids.filter((k) => k[0] !== ',').map((k) => this.evaluate(k));
            break;
        case 'expression_with_unary_operator': return this.unary(kids, node);
        case 'cast_expression': return this.cast(this.slice(kids[0]), this.evaluate(kids[1]), kids[1]);
        case 'type_literal': return new TypeName(this.slice(node).slice(1, -1));
        case 'member_access': return this.member(this.evaluate(kids[0]), this.slice(kids[2]), node);
        case 'element_access': return this.element(this.evaluate(kids[0]), this.evaluate(kids[2]), node);
        case 'invocation_expression': return this.invoke(kids, node);
        case 'additive_expression': case 'multiplicative_expression': case 'comparison_expression':
        case 'logical_expression': case 'format_expression': case 'range_expression':
        case 'bitwise_expression':
            if (kids.length > 1) return this.binary(kids, node);
            break;
        default:
        }
        if (kids.length === 1) return this.isStatement(kids[0]) ? this.value(kids[0]) : this.evaluate(kids[0]);
        if (this.isStatement(node)) return this.value(node);
        throw this.fail(node, `node ${node[0]}`);
    }
    arrayItems(node, out) {
        const inner = this.reduce(node);
        if (inner[0] === 'statement_list') return this.statements(inner, out);
        return this.statement(inner, out);
    }
    string(node) {
        const inner = this.kids(node)[0] ?? node;
        const raw = this.slice(inner);
        switch (inner[0]) {
        case 'verbatim_string_characters':
            return raw.slice(1, -1).replace(/(['\u2018-\u201b])['\u2018-\u201b]/g, '$1');
        case 'verbatim_here_string_characters':
            return raw.replace(/^@'\r?\n/, '').replace(/\r?\n'@$/, '');
        case 'expandable_string_literal': {
            let out = '';
            let at = inner[1] + 1;
            for (const part of inner[4].filter((n) => ['variable', 'sub_expression'].includes(n[0]))) {
                out += this.escapes(this.source.subarray(at, part[1]).toString()) + text(this.evaluate(part));
                at = part[2];
            }
            return out + this.escapes(this.source.subarray(at, inner[2] - 1).toString());
        }
        default: throw this.fail(node, 'string');
        }
    }
    escapes(s) {
        return s.replace(/`([^])/g, (all, c) => ({ n: '\n', r: '\r', t: '\t', 0: '\0' }[c] ?? c)).replace(/""/g, '"');
    }
    hash(node) {
        const out = new Dictionary();
        const body = this.child(node, 'hash_literal_body');
        for (const entry of body ? body[4].filter((n) => n[0] === 'hash_entry') : []) {
            const parts = this.kids(entry);
            const key = this.reduce(parts[0]);
            const name = key[0] === 'simple_name' ? this.slice(key) : text(this.evaluate(key));
            if (out.has(name)) throw this.fail(entry, 'key twice');
            out.set(name, this.assigned(parts[2]));
        }
        return out;
    }
    unary(kids, node) {
        if (kids.length === 1) return this.evaluate(kids[0]);
        if (kids[0][0] === 'type_literal') return this.cast(this.slice(kids[0]), this.evaluate(kids[1]), kids[1]);
        const operand = this.evaluate(kids[1]);
        switch (this.slice(kids[0]).toLowerCase()) {
        case ',': return [operand];
        case '-not': case '!': return !truthy(operand);
        case '-': return -number(operand);
        default: throw this.fail(node, 'operator');
        }
    }
    cast(type, value, node) {
        switch (type.toLowerCase()) {
        case '[ordered]': return value;
        case '[void]': return undefined;
        case '[string]': return text(value);
        case '[int]': case '[uint32]': return Math.round(number(value));
        case '[bool]': return truthy(value);
        case '[string[]]': return asList(value).map(text);
        case '[uint16[]]': case '[int[]]': return asList(value).map((v) => Math.round(number(v)));
        case '[char]': return String.fromCharCode(number(value));
        default: throw this.fail(node, `cast ${type}`);
        }
    }
    add(a, b) {
        if (isNull(a)) return b;
        if (Array.isArray(a)) return [...a, ...(Array.isArray(b) ? b : [b])];
        if (typeof a === 'number') return a + number(b);
        if (typeof a === 'string') return a + text(b);
        throw new Error(`+ of ${typeof a}`);
    }
    binary(kids, node) {
        let operator = this.slice(kids[1]).toLowerCase();
        let right = kids[2];
        if (['comparison_operator', 'format_operator'].includes(kids[1][0]) && kids[1][4].length > 1) {
            operator = this.slice(kids[1][4][0]).toLowerCase();
            right = this.kids(kids[1])[1];
        }
        const a = this.evaluate(kids[0]);
        if (operator === '-and') return truthy(a) && truthy(this.evaluate(right));
        if (operator === '-or') return truthy(a) || truthy(this.evaluate(right));
        const b = this.evaluate(right);
        return this.operate(operator, a, b, node);
    }
    operate(operator, a, b, node) {
        const filter = (test) => (Array.isArray(a) ? a.filter(test) : test(a));
        switch (operator) {
        case '+': return this.add(a, b);
        case '-': return number(a) - number(b);
        case '*': return number(a) * number(b);
        case '/': return number(a) / number(b);
        case '-eq': return filter((v) => equal(v, b));
        case '-ne': return filter((v) => !equal(v, b));
        case '-ceq': return filter((v) => caseEqual(v, b));
        case '-cne': return filter((v) => !caseEqual(v, b));
        case '-gt': return (typeof a === 'number' ? a > number(b) : a > b);
        case '-lt': return (typeof a === 'number' ? a < number(b) : a < b);
        case '-ge': return number(a) >= number(b);
        case '-le': return number(a) <= number(b);
        case '-contains': return asList(a).some((v) => equal(v, b));
        case '-notcontains': return !asList(a).some((v) => equal(v, b));
        case '-join': return asList(a).map(text).join(text(b));
        case '-split': return asList(a).flatMap((v) => text(v).split(expression(b, 'i')));
        case '-f': return format(a, Array.isArray(b) ? b : [b]);
        case '-like': return filter((v) => wild(b).test(text(v)));
        case '-notlike': return filter((v) => !wild(b).test(text(v)));
        case '-match': return this.match(a, b);
        case '-notmatch': return !expression(b, 'i').test(text(a));
        case '-replace': {
            const [pattern, by] = [asList(b)[0], asList(b)[1] ?? ''];
            const one = (v) => text(v).replace(expression(pattern, 'gi'), replacement(by));
            return Array.isArray(a) ? a.map(one) : one(a);
        }
        case '-is':
            if (b.name === 'array') return Array.isArray(a);
            throw this.fail(node, 'type');
        case '-as':
            if (b.name === 'type') return this.host.type(text(a));
            throw this.fail(node, 'type');
        default: throw this.fail(node, `operator ${operator}`);
        }
    }
    match(a, b) {
        if (Array.isArray(a)) return a.filter((v) => expression(b, 'i').test(text(v)));
        const found = expression(b, 'i').exec(text(a));
        if (found) this.set('matches', [...found]);
        return found !== null;
    }
    element(object, index, node) {
        if (object instanceof Dictionary) return object.get(text(index));
        if (Array.isArray(object)) return object[index < 0 ? object.length + index : index] ?? null;
        throw this.fail(node, 'index of what has none');
    }
    member(object, name, node) {
        const word = name.toLowerCase();
        if (object instanceof TypeName) return this.host.constant(object.name, word);
        if (word === 'count' && !(object instanceof Dictionary && object.has('count'))) {
            return object instanceof Dictionary ? object.map.size : asList(object).length;
        }
        if (isNull(object)) return null;
        if (Array.isArray(object)) {
            if (word === 'length') return object.length;
            return only(object.map((o) => this.member(o, name, node)).filter((v) => !isNull(v)));
        }
        if (object instanceof PsObject && word === 'psobject') {
            return new Native('PSMemberSet', {
                properties: object.entries().map((e) => new Native('PSProperty', { name: e[0], value: e[1] })),
            });
        }
        if (object instanceof Dictionary && word === 'keys') return object.keys();
        if (object instanceof Dictionary) return object.get(name);
        if (object instanceof Native) {
            if (!(word in object.members)) {
                if (object.open) return null;
                throw this.fail(node, `${object.type} has no ${name}`);
            }
            return object.members[word];
        }
        if (typeof object === 'string' && word === 'length') return object.length;
        throw this.fail(node, `${typeof object} has no ${name}`);
    }
    invoke(kids, node) {
        const name = this.slice(this.child(node, 'member_name')).toLowerCase();
        const list = this.child(node, 'argument_list');
        const inner = list && this.child(list, 'argument_expression_list');
        const args = (inner ? this.kids(inner) : []).filter((n) => n[0] !== ',').map((n) => this.evaluate(this.reduce(n)));
        const object = this.evaluate(kids[0]);
        if (object instanceof TypeName) return this.host.method(object.name, name, args, this);
        if (object instanceof Native) {
            const method = object.members[name];
            if (typeof method !== 'function') throw this.fail(node, `${object.type} has no method ${name}`);
            return method(...args);
        }
        if (object instanceof Dictionary && (name === 'contains' || name === 'containskey')) return object.has(text(args[0]));
        if (typeof object === 'string') return this.stringMethod(object, name, args, node);
        throw this.fail(node, `no method ${name} on ${isNull(object) ? 'null' : typeof object}`);
    }
    stringMethod(s, name, args, node) {
        switch (name) {
        case 'replace': return s.split(text(args[0])).join(text(args[1]));
        case 'split': return s.split(text(args[0]));
        case 'trim': return s.trim();
        case 'contains': return s.includes(text(args[0]));
        case 'tolowerinvariant': return s.toLowerCase();
        case 'toupperinvariant': return s.toUpperCase();
        case 'tostring': return s;
        case 'endswith':
            if (args.length !== 2) throw this.fail(node, 'culture');
            return s.toLowerCase().endsWith(text(args[0]).toLowerCase());
        default: throw this.fail(node, `string has no ${name}`);
        }
    }
}
