// What handlers of several families share: looking at keys without leaving traces, what a look-up
// before overwriting has to do, and the refusals that name the command.
import Base
import RESP
import Storage

extension Call {
    // MARK: Looking

    /// The live entry of `key` for reading. Counts a hit or a miss, marks no access: EXISTS, TYPE,
    /// TTL, OBJECT. `notifies`: whether a miss is a key event.
    public func examine(_ key: KeyRef, notifies: Bool = true) -> Entry? {
        guard let entry = peek(key) else {
            if notifies { missed(key) } else { executor.pointee.stats.keyspaceMisses &+= 1 }
            return nil
        }
        executor.pointee.stats.keyspaceHits &+= 1
        return entry
    }

    /// Counts a miss of a read, and tells observers.
    @inline(__always)
    func missed(_ key: KeyRef) {
        executor.pointee.stats.keyspaceMisses &+= 1
        if let hook = executor.pointee.keyEvent {
            KeyEvent.send(hook, executor, .keyMiss, "keymiss", key)
        }
    }

    /// Nothing may be left of a key that is hidden from a write: on a replica that takes writes of
    /// its own, an expired key is removed, in no stream.
    @inline(never)
    func dropHidden(_ key: KeyRef) {
        guard executor.pointee.alerts.contains(.isReplica) else { return }
        executor.pointee.keyspace.unlink(key)
    }

    /// The entry when it holds a string; else answers and returns nil.
    @inline(__always)
    public func stringOrReply(_ entry: Entry) -> Entry? {
        if _fastPath(entry.isString) { return entry }
        reply.error(.wrongType)
        return nil
    }

    // MARK: Overwriting

    /// To be called before a key is set without having been looked up. In the ordinary case nothing
    /// is to do; else an expired key ends as such, the use is counted, a new key is announced.
    @inline(__always)
    public func willOverwrite(_ key: KeyRef) {
        let policy = executor.pointee.settings.evictionPolicy
        if _slowPath(
            executor.pointee.keyEvent != nil || policy.usesFrequency
                || keyspace.expiringCount(database: Int(key.database)) > 0)
        {
            lookBeforeOverwriting(key)
        }
    }

    @inline(never)
    private func lookBeforeOverwriting(_ key: KeyRef) {
        if lookupWrite(key) == nil { announceNew(key) }
    }

    /// Tells observers that a key comes into being; followed by the command's own event.
    @inline(__always)
    public func announceNew(_ key: KeyRef) {
        if _slowPath(executor.pointee.keyEvent != nil), let hook = executor.pointee.keyEvent {
            KeyEvent.send(hook, executor, .new, "new", key)
        }
    }

    // MARK: Time

    /// Whether a deadline is over at once, so that the key is deleted rather than given it. Never
    /// while loading or on a replica: there the key waits for its primary's DEL.
    public func isOver(_ deadline: Int64) -> Bool {
        deadline <= now.milliseconds
            && executor.pointee.alerts.isDisjoint(with: [.loading, .isReplica])
    }

    // MARK: Refusals

    /// The command as errors name it, such as `config|get`.
    public var commandName: String {
        executor.pointee.commands.pointee.fullName(of: command)
    }

    @inline(never)
    public func refuseExpireTime() {
        reply.error("ERR invalid expire time in '\(commandName)' command")
    }

    @inline(never)
    public func refuseArity() {
        reply.error("ERR wrong number of arguments for '\(commandName)' command")
    }

    /// A subcommand that is known, but not with so many arguments.
    @inline(never)
    public func refuseSubcommand() {
        let id = Int(command.pointee.parent)
        let name = "\(executor.pointee.commands.pointee.declarations[id].name)".uppercased()
        var text = Array("ERR unknown subcommand or wrong number of arguments for '".utf8)
        text += self[1].array.prefix(128)
        text += Array("'. Try \(name) HELP.".utf8)
        reply.error(text)
    }

    /// The number of a database at `index`, or nil after an error reply.
    public func databaseOrReply(_ index: Int) -> Int? {
        guard let value = integerOrReply(index) else { return nil }
        guard Int32(exactly: value) != nil else {
            reply.error(
                "ERR value is out of range, value must between -2147483648 and 2147483647")
            return nil
        }
        guard value >= 0, value < Int64(keyspace.databaseCount) else {
            reply.error(.dbIndex)
            return nil
        }
        return Int(value)
    }

    /// The reply of a HELP subcommand: a heading that names the container, the lines, HELP itself.
    public func replyHelp(_ lines: [StaticString]) {
        let id = Int(command.pointee.parent)
        let name = "\(executor.pointee.commands.pointee.declarations[id].name)".uppercased()
        reply.array(lines.count + 3)
        reply.simple("\(name) <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
        for line in lines { reply.simple(line) }
        reply.simple("HELP")
        reply.simple("    Prints this help.")
    }
}

extension ExecutorPointer {
    /// Whether the time of an entry is over. Nothing expires while data is loaded.
    @inline(__always)
    public func isExpired(_ entry: Entry) -> Bool {
        entry.isExpired(now: pointee.now.wall.milliseconds) && !pointee.alerts.contains(.loading)
    }
}
