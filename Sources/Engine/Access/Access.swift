// Users at work: who a session is, what becomes of sessions when users change, and the record of
// what was denied.
import Base

extension ExecutorPointer {
    // MARK: Who a session is

    /// A session begins as the default user, logged in when that needs no password.
    func beginAccess(_ session: UnsafeMutablePointer<Session>) {
        let user = pointee.access.pointee.defaultUser
        session.pointee.user = user
        session.pointee.isLoggedIn = user.pointee.isOpen
        refreshAccess(session)
    }

    /// RESET: as it was in the beginning.
    public func resetAccess(_ session: UnsafeMutablePointer<Session>) { beginAccess(session) }

    /// A session of the node's own, which may do everything: the stream of our primary, the log.
    public func makeSuperuser(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.user = nil
        session.pointee.isLoggedIn = true
        refreshAccess(session)
    }

    /// What dispatch looks at, from the user that the session is.
    private func refreshAccess(_ session: UnsafeMutablePointer<Session>) {
        let isOpen = pointee.access.pointee.defaultUser.pointee.isOpen
        session.pointee.flags.subtract([.authenticated, .restricted])
        if session.pointee.isLoggedIn || isOpen { session.pointee.flags.insert(.authenticated) }
        if let user = session.pointee.user, !user.pointee.isUnlimited {
            session.pointee.flags.insert(.restricted)
        }
    }

    /// Logs a session in, or records that it failed. `command` is the name as it was typed.
    public func authenticate(
        _ session: UnsafeMutablePointer<Session>, user name: Bytes, password: Bytes,
        command: Bytes
    ) -> Bool {
        let name = name.array
        guard let user = pointee.access.pointee.find(name),
            ExecutorPointer.accepts(user, password)
        else {
            pointee.stats.deniedLogins &+= 1
            record("auth", context(of: session), command.array, session, user: name)
            return false
        }
        session.pointee.user = user
        session.pointee.isLoggedIn = true
        refreshAccess(session)
        return true
    }

    private static func accepts(_ user: AccessUserPointer, _ password: Bytes) -> Bool {
        guard user.pointee.definition.isOn else { return false }
        if user.pointee.definition.hasNoPassword { return true }
        let hash = SHA256.hex(password)
        return user.pointee.definition.passwords.contains { SHA256.isSame($0, hash) }
    }

    // MARK: Changing users

    /// Changes or makes a user; nil, or what is wrong with the rules. All of them hold or none.
    public func setUser(_ name: [UInt8], _ rules: [[UInt8]]) -> [UInt8]? {
        let words: [[UInt8]]
        switch AccessWords.merged(rules) {
        case .success(let merged): words = merged
        case .failure(let unclosed):
            return Array("Unmatched parenthesis in acl selector starting at '".utf8)
                + rules[unclosed.index] + Array("'.".utf8)
        }
        let known = pointee.access.pointee.find(name)
        var next = known?.pointee.definition ?? pointee.access.pointee.newDefinition
        for word in words {
            do throws(AccessProblem) {
                try pointee.access.pointee.apply(word, to: &next)
            } catch {
                return Array("Error in ACL SETUSER modifier '".utf8) + word
                    + Array("': \(error.text)".utf8)
            }
        }
        if let known { revokeChannels(known, next) }
        pointee.access.pointee.set(name, next)
        refreshAllAccess()
        return nil
    }

    /// Forgets a user and closes its clients; false when there is none.
    public func deleteUser(_ name: [UInt8]) -> Bool {
        guard let user = pointee.access.pointee.find(name) else { return false }
        closeClients(of: user)
        pointee.access.pointee.remove(user)
        return true
    }

    /// Puts users of a file in the place of all that there are. Whoever is another than the
    /// default user has to come again.
    func replaceUsers(_ users: [(name: [UInt8], definition: AccessDefinition)]) {
        let defaultUser = pointee.access.pointee.defaultUser
        for user in pointee.access.pointee.users where user != defaultUser {
            closeClients(of: user)
            pointee.access.pointee.remove(user)
        }
        pointee.access.pointee.set(AccessControl.defaultName, .unlimited)
        for user in users { pointee.access.pointee.set(user.name, user.definition) }
        refreshAllAccess()
    }

    /// `requirepass` is the only password of the default user; without one, it needs none.
    public func setRequiredPassword(_ password: String) {
        let user = pointee.access.pointee.defaultUser
        var next = user.pointee.definition
        next.hasNoPassword = password.isEmpty
        next.passwords = password.isEmpty ? [] : [password.withBytes { SHA256.hex($0) }]
        pointee.access.pointee.set(AccessControl.defaultName, next)
        refreshAllAccess()
    }

    private func refreshAllAccess() {
        for index in 0..<pointee.sessions.count { refreshAccess(pointee.sessions[index]) }
    }

    /// Until they are gone they are nobody.
    private func closeClients(of user: AccessUserPointer) {
        for index in 0..<pointee.sessions.count {
            let session = pointee.sessions[index]
            guard session.pointee.user == user else { continue }
            session.pointee.user = pointee.access.pointee.defaultUser
            session.pointee.isLoggedIn = false
            refreshAccess(session)
            closeRevoked(session)
        }
    }

    /// The caller of the command that is at work still gets its reply.
    private func closeRevoked(_ session: UnsafeMutablePointer<Session>) {
        if session.pointee.flags.contains(.running), pointee.frame.pointee.session == session {
            session.pointee.flags.insert(.closeAfterReply)
        } else {
            close(session)
        }
    }

    /// Closes clients that listen to what their user may not listen to any more.
    private func revokeChannels(_ user: AccessUserPointer, _ next: AccessDefinition) {
        guard let allowed = next.channels else { return }
        if let before = user.pointee.definition.channels, before.allSatisfy(allowed.contains) {
            return
        }
        for index in 0..<pointee.sessions.count {
            let session = pointee.sessions[index]
            guard session.pointee.user == user, session.pointee.flags.contains(.pubsub) else {
                continue
            }
            let isRevoked = [SubscriptionKind.pattern, .channel, .shardChannel].contains { kind in
                session.subscribedNames(kind).contains { name in
                    name.withBytes {
                        !AccessSelector.allows($0, isPattern: kind == .pattern, by: allowed)
                    }
                }
            }
            if isRevoked { closeRevoked(session) }
        }
    }

    // MARK: What was denied

    private func context(of session: UnsafeMutablePointer<Session>) -> AccessContext {
        session.pointee.flags.isDisjoint(with: [.multi, .executing]) ? .toplevel : .multi
    }

    /// Counts and records that `session` was denied a command. Scripts say that they are scripts.
    public func noteDenied(
        _ permission: Permission, _ session: UnsafeMutablePointer<Session>,
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>,
        in context: AccessContext? = nil
    ) {
        let context = context ?? self.context(of: session)
        session.pointee.lastCommand = command.pointee.id
        switch permission {
        case .granted: return
        case .deniedCommand:
            pointee.stats.deniedCommands &+= 1
            let name = pointee.commands.pointee.fullName(of: command)
            record("command", context, Array(name.utf8), session)
        case .deniedKey(let index):
            pointee.stats.deniedKeys &+= 1
            record("key", context, arguments[index].array, session)
        case .deniedChannel(let index):
            pointee.stats.deniedChannels &+= 1
            record("channel", context, arguments[index].array, session)
        }
    }

    private func record(
        _ reason: StaticString, _ context: AccessContext, _ object: [UInt8],
        _ session: UnsafeMutablePointer<Session>, user: [UInt8]? = nil
    ) {
        pointee.access.pointee.log.add(
            AccessLog.Entry(
                reason: reason, context: context, object: object,
                user: user ?? session.pointee.user?.pointee.name ?? [], at: pointee.now.wall,
                client: clientLine(session)),
            atMost: pointee.settings.accessLogLength)
    }
}
