// The replies of COMMAND INFO and COMMAND DOCS, from the declarations. Order and form of every
// field are the reference's (7.0.15): client libraries and redis-cli read them.
import Base
import RESP

public struct CommandReport {
    private let table: UnsafeMutablePointer<CommandTable>
    private let reply: ReplyWriter

    public init(_ table: UnsafeMutablePointer<CommandTable>, _ reply: ReplyWriter) {
        self.table = table
        self.reply = reply
    }

    public func declaration(_ command: UnsafeMutablePointer<Command>) -> CommandDeclaration {
        table.pointee.declarations[Int(command.pointee.id)]
    }

    /// All commands that are no subcommands and were not renamed away, in declared order.
    public var topLevel: [UnsafeMutablePointer<Command>] {
        (0..<table.pointee.count).map { table.pointee.commands + $0 }
            .filter { $0.pointee.parent == $0.pointee.id && !isHidden($0) }
    }

    /// A command that was renamed cannot be found under its name.
    private func isHidden(_ command: UnsafeMutablePointer<Command>) -> Bool {
        command.pointee.flags.contains(.unlisted)
            || table.pointee.find(Bytes(declaration(command).name)) == nil
    }

    private func subcommands(
        of command: UnsafeMutablePointer<Command>
    ) -> [UnsafeMutablePointer<Command>] {
        guard command.pointee.flags.contains(.container) else { return [] }
        return (0..<table.pointee.count).map { table.pointee.commands + $0 }
            .filter { $0.pointee.parent == command.pointee.id && $0 != command }
            .filter { !$0.pointee.flags.contains(.unlisted) }
    }

    /// Full names of all commands, subcommands after their container, for which `wanted`.
    public func names(where wanted: (UnsafeMutablePointer<Command>) -> Bool) -> [String] {
        topLevel.flatMap { [$0] + subcommands(of: $0) }
            .filter(wanted).map { declaration($0).fullName }
    }

    // MARK: COMMAND INFO

    /// The ten fields of COMMAND INFO, or null for a command that does not exist.
    public func info(_ command: UnsafeMutablePointer<Command>?) {
        guard let command else {
            reply.null()
            return
        }
        let about = declaration(command)
        reply.array(10)
        reply.bulk(about.fullName)
        reply.integer(about.arity)
        flags(command.pointee.flags)
        reply.integer(Int(command.pointee.firstKey))
        reply.integer(Int(command.pointee.lastKey))
        reply.integer(Int(command.pointee.keyStep))
        categories(command.pointee.categories)
        tips(about)
        reply.set(about.keys.count)
        for spec in about.keys { keySpec(spec) }
        let children = subcommands(of: command)
        // Without subcommands the reference answers an empty set, with them an array.
        if children.isEmpty { reply.set(0) } else { reply.array(children.count) }
        for child in children { info(child) }
    }

    /// The flags that are shown, in the order of the reference.
    private static var printedFlags: [(CommandFlags, StaticString)] {
        [
            (.write, "write"), (.readonly, "readonly"), (.denyOOM, "denyoom"),
            (.module, "module"), (.admin, "admin"), (.pubsub, "pubsub"),
            (.noScript, "noscript"), (.blocking, "blocking"), (.loading, "loading"),
            (.stale, "stale"), (.skipMonitor, "skip_monitor"), (.skipSlowlog, "skip_slowlog"),
            (.asking, "asking"), (.fast, "fast"), (.noAuth, "no_auth"),
            (.noMandatoryKeys, "no_mandatory_keys"), (.noAsyncLoading, "no_async_loading"),
            (.noMulti, "no_multi"), (.movableKeys, "movablekeys"), (.allowBusy, "allow_busy"),
        ]
    }

    private func flags(_ flags: CommandFlags) {
        status(CommandReport.printedFlags.filter { flags.contains($0.0) }.map(\.1))
    }

    private func status(_ words: [StaticString]) {
        reply.set(words.count)
        for word in words { reply.simple(word) }
    }

    private func categories(_ categories: CommandCategories) {
        let present = CommandCategories.names.indices.filter {
            categories.contains(CommandCategories(rawValue: UInt32(1) << UInt32($0)))
        }
        reply.set(present.count)
        for index in present { reply.simple("@\(CommandCategories.names[index])") }
    }

    private func tips(_ about: CommandDeclaration) {
        let tips = lines(about.tips)
        reply.set(tips.count)
        for tip in tips { reply.bulk(tip) }
    }

    public func keyFlags(_ flags: KeyFlags) {
        status(KeyFlags.printed.filter { flags.contains($0.0) }.map(\.1))
    }

    private func keySpec(_ spec: KeySpec) {
        let hasNotes = !Bytes(spec.notes).isEmpty
        reply.map(hasNotes ? 4 : 3)
        if hasNotes { pair("notes", "\(spec.notes)") }
        reply.bulk("flags")
        keyFlags(spec.flags)
        reply.bulk("begin_search")
        switch spec.begin {
        case .index(let index): search("index", [("index", index)])
        case .keyword(let word, let from):
            search("keyword", [("keyword", nil), ("startfrom", from)], word: word)
        case .unknown: search("unknown", [])
        }
        reply.bulk("find_keys")
        switch spec.find {
        case .range(let last, let step, let limit):
            search("range", [("lastkey", last), ("keystep", step), ("limit", limit)])
        case .keyNumber(let at, let first, let step):
            search("keynum", [("keynumidx", at), ("firstkey", first), ("keystep", step)])
        case .unknown: search("unknown", [])
        }
    }

    /// `type` and `spec`; a field without a number has `word` for its value.
    private func search(
        _ type: StaticString, _ fields: [(StaticString, Int?)], word: StaticString = ""
    ) {
        reply.map(2)
        reply.bulk("type")
        reply.bulk(type)
        reply.bulk("spec")
        reply.map(fields.count)
        for (name, value) in fields {
            reply.bulk(name)
            if let value { reply.integer(value) } else { reply.bulk(word) }
        }
    }

    // MARK: COMMAND DOCS

    public func docs(_ command: UnsafeMutablePointer<Command>) {
        let about = declaration(command)
        let history = lines(about.history)
        let arguments = CommandSyntax.arguments(about.syntax)
        let children = subcommands(of: command)
        let isDeprecated = !Bytes(about.deprecated).isEmpty
        var count = 1
        for isPresent in [
            !Bytes(about.summary).isEmpty, !Bytes(about.since).isEmpty,
            !Bytes(about.complexity).isEmpty, isDeprecated || about.isSystem, isDeprecated,
            isDeprecated, !history.isEmpty, !arguments.isEmpty, !children.isEmpty,
        ] where isPresent { count += 1 }
        reply.map(count)
        if !Bytes(about.summary).isEmpty { pair("summary", "\(about.summary)") }
        if !Bytes(about.since).isEmpty { pair("since", "\(about.since)") }
        pair("group", about.group.rawValue)
        if !Bytes(about.complexity).isEmpty { pair("complexity", "\(about.complexity)") }
        if isDeprecated || about.isSystem {
            reply.bulk("doc_flags")
            status((isDeprecated ? ["deprecated"] : []) + (about.isSystem ? ["syscmd"] : []))
        }
        if isDeprecated {
            let (version, replacement) = splitVersion("\(about.deprecated)")
            pair("deprecated_since", version)
            pair("replaced_by", replacement)
        }
        if !history.isEmpty { self.history(history) }
        if !arguments.isEmpty {
            reply.bulk("arguments")
            self.arguments(arguments)
        }
        guard !children.isEmpty else { return }
        reply.bulk("subcommands")
        reply.map(children.count)
        for child in children {
            reply.bulk(declaration(child).fullName)
            docs(child)
        }
    }

    private func history(_ lines: [String]) {
        reply.bulk("history")
        reply.set(lines.count)
        for line in lines {
            let (version, change) = splitVersion(line)
            reply.array(2)
            reply.bulk(version)
            reply.bulk(change)
        }
    }

    private func arguments(_ all: [ArgumentSyntax]) {
        reply.array(all.count)
        for argument in all {
            var flags: [StaticString] = []
            if argument.isOptional { flags.append("optional") }
            if argument.isMultiple { flags.append("multiple") }
            if argument.repeatsToken { flags.append("multiple_token") }
            let hasParts = argument.kind == .oneOf || argument.kind == .block
            var count = 2
            for isPresent in [
                argument.keySpec != nil, argument.token != nil, argument.since != nil,
                argument.deprecatedSince != nil, !flags.isEmpty, hasParts,
            ] where isPresent { count += 1 }
            reply.map(count)
            pair("name", argument.name)
            pair("type", argument.kind.rawValue)
            if let spec = argument.keySpec {
                reply.bulk("key_spec_index")
                reply.integer(spec)
            }
            if let token = argument.token { pair("token", token) }
            if let since = argument.since { pair("since", since) }
            if let version = argument.deprecatedSince { pair("deprecated_since", version) }
            if !flags.isEmpty {
                reply.bulk("flags")
                status(flags)
            }
            guard hasParts else { continue }
            reply.bulk("arguments")
            arguments(argument.arguments)
        }
    }

    private func pair(_ name: StaticString, _ value: String) {
        reply.bulk(name)
        reply.bulk(value)
    }

    private func lines(_ text: StaticString) -> [String] {
        "\(text)".split(separator: "\n").map(String.init)
    }

    private func splitVersion(_ line: String) -> (String, String) {
        let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
        invariant(parts.count == 2, "a version must be followed by what changed")
        return (parts[0], parts[1])
    }
}
