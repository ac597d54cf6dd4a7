// Whether a session may run a command: one test for those who may do everything, one bit for what
// the user may do with any arguments, and a look at the arguments for the rest. EXEC and scripts
// ask the same question for what they run.
import Base
import RESP

public enum Permission: Equatable, Sendable {
    case granted
    case deniedCommand
    /// With the index of the argument.
    case deniedKey(Int)
    case deniedChannel(Int)

    /// The error line, for a command of that name.
    public func refusal(of command: String) -> String {
        switch self {
        case .granted: ""
        case .deniedCommand:
            "NOPERM this user has no permissions to run the '\(command)' command"
        case .deniedKey:
            "NOPERM this user has no permissions to access one of the keys used as arguments"
        case .deniedChannel:
            "NOPERM this user has no permissions to access one of the channels used as arguments"
        }
    }

    /// What a script is told, after the code of an error.
    public var refusalInScript: String {
        let reason =
            switch self {
            case .granted, .deniedCommand: "can't run this command or subcommand"
            case .deniedKey:
                "can't access at least one of the keys mentioned in the command arguments"
            case .deniedChannel: "can't publish to the channel mentioned in the command"
            }
        return "The user executing the script \(reason)"
    }

    /// The error line of EXEC, for what was allowed while it was queued.
    var refusalOfExec: String {
        let reason =
            switch self {
            case .granted, .deniedCommand: "no permission to execute the command or subcommand"
            case .deniedKey: "no permission to touch the specified keys"
            case .deniedChannel: "no permission to access one of the channels used as arguments"
            }
        return "NOPERM ACLs rules changed between the moment the transaction was accumulated and "
            + "the EXEC call. This command is no longer allowed for the following reason: "
            + reason
    }

    /// Of several selectors' answers the one that came furthest is told.
    private var rank: (Int, Int) {
        switch self {
        case .granted: (0, 0)
        case .deniedCommand: (1, 0)
        case .deniedKey(let index): (2, index)
        case .deniedChannel(let index): (3, index)
        }
    }

    fileprivate func isNearer(than other: Permission) -> Bool { rank > other.rank }
}

extension ExecutorPointer {
    /// Whether `session` may run a command with these arguments. Scripts ask for each of theirs.
    @inline(__always)
    public func permission(
        of session: UnsafeMutablePointer<Session>, _ command: UnsafeMutablePointer<Command>,
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> Permission {
        guard _slowPath(session.pointee.flags.contains(.restricted)),
            let user = session.pointee.user
        else { return .granted }
        return permission(of: user, command, arguments, count)
    }

    @inline(never)
    public func permission(
        of user: AccessUserPointer, _ command: UnsafeMutablePointer<Command>,
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> Permission {
        let id = command.pointee.id
        if user.pointee.mayRunAnyhow(id) { return .granted }
        let use = pointee.access.pointee.plainUses[id]
        if user.pointee.certainlyMayRun(command, use, arguments, count) { return .granted }
        return permissionByArguments(of: user, command, arguments, count)
    }

    private func permissionByArguments(
        of user: AccessUserPointer, _ command: UnsafeMutablePointer<Command>,
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> Permission {
        var answer = Permission.deniedCommand
        var keys: [KeyPosition]?
        for selector in user.pointee.definition.selectors {
            let one = permission(by: selector, command, arguments, count, &keys)
            if one == .granted { return .granted }
            if one.isNearer(than: answer) { answer = one }
        }
        return answer
    }

    /// `keys` holds the positions of the keys once they are known.
    private func permission(
        by selector: AccessSelector, _ command: UnsafeMutablePointer<Command>,
        _ arguments: UnsafePointer<Bytes>, _ count: Int, _ keys: inout [KeyPosition]?
    ) -> Permission {
        let id = command.pointee.id
        let fact = pointee.access.pointee.catalogue.facts[Int(id)]
        if !selector.hasAllCommands, !fact.isFree, !selector.commands[id] {
            guard count > 1, let words = selector.firstArguments[id],
                words.contains(where: {
                    AccessWords.lowercased($0) == AccessWords.lowercased(arguments[1].array)
                })
            else { return .deniedCommand }
        }
        if !selector.hasAllKeys, fact.hasKeys {
            let positions = keys ?? accessedKeys(command, arguments, count)
            keys = positions
            for key in positions
            where !selector.allowsKey(arguments[key.index], KeyUse(key.flags)) {
                return .deniedKey(key.index)
            }
        }
        if !selector.hasAllChannels, let use = fact.channels {
            let last = use.last < 0 ? count + use.last : use.last
            var index = use.first
            while index <= last, index < count {
                if !selector.allowsChannel(arguments[index], isPattern: use.isPattern) {
                    return .deniedChannel(index)
                }
                index += 1
            }
        }
        return .granted
    }

    /// The keys of a call; channels that have a slot as keys have are none.
    private func accessedKeys(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> [KeyPosition] {
        (keyPositions(command, arguments, count) ?? []).filter { !$0.flags.contains(.notKey) }
    }

    /// Whether the session may run the call and read every key there is: patterns of SORT name
    /// keys that nobody knows beforehand.
    public func mayReadAnyKey(_ call: Call) -> Bool {
        let session = call.session
        guard session.pointee.flags.contains(.restricted), let user = session.pointee.user else {
            return true
        }
        var keys: [KeyPosition]?
        return user.pointee.definition.selectors.contains { selector in
            selector.allowsAnyKey(.read)
                && permission(by: selector, call.command, call.arguments, call.count, &keys)
                    == .granted
        }
    }
}
