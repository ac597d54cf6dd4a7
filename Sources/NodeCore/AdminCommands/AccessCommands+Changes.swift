// ACL SETUSER, DELUSER, LOAD and SAVE. The file of users is written like the configuration: beside
// the old one, synced and renamed, and the reply comes when that is done.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerAccessChanges() {
        command(
            "deluser", of: "acl", since: "6.0.0", arity: -3,
            [.admin, .noScript, .loading, .stale],
            syntax: "username...",
            summary: "Remove the specified ACL users and the associated rules",
            complexity: "O(1) amortized time considering the typical user."
        ) { deleteUsers(Call($0)) }

        command(
            "load", of: "acl", since: "6.0.0", arity: 2, [.admin, .noScript, .loading, .stale],
            summary: "Reload the ACLs from the configured ACL file",
            complexity: "O(N). Where N is the number of configured users."
        ) { loadUsers(Call($0)) }

        command(
            "save", of: "acl", since: "6.0.0", arity: 2, [.admin, .noScript, .loading, .stale],
            summary: "Save the current ACL rules in the configured ACL file",
            complexity: "O(N). Where N is the number of configured users."
        ) { saveUsers(Call($0)) }

        command(
            "setuser", of: "acl", since: "6.0.0", arity: -3,
            [.admin, .noScript, .loading, .stale],
            syntax: "username [rule...]",
            summary: "Modify or create the rules for a specific ACL user",
            complexity: "O(N). Where N is the number of rules provided.",
            history: """
            6.2.0 Added Pub/Sub channel patterns.
            7.0.0 Added selectors and key based permissions.
            """
        ) { setUser(Call($0)) }
    }
}

private func setUser(_ call: Call) {
    // Names, passwords, all of it: nothing may be seen in logs.
    for index in 2..<call.count { call.redact(index) }
    let name = call[2].array
    guard !AccessWords.hasSpaces(name) else {
        return call.reply.error(
            "ERR Usernames can't contain spaces or null characters" as StaticString)
    }
    let rules = (3..<call.count).map { call[$0].array }
    if let problem = call.executor.setUser(name, rules) {
        return call.reply.error(Array("ERR ".utf8) + problem.onOneLine)
    }
    call.reply.ok()
}

private func deleteUsers(_ call: Call) {
    for index in 2..<call.count where call[index] == "default" {
        return call.reply.error("ERR The 'default' user cannot be removed" as StaticString)
    }
    var deleted = 0
    for index in 2..<call.count where call.executor.deleteUser(call[index].array) { deleted += 1 }
    call.reply.integer(deleted)
}

/// The path of the file, or nil after an error reply.
private func fileOrReply(_ call: Call) -> String? {
    let path = call.executor.pointee.settings.accessFile
    if !path.isEmpty { return path }
    call.reply.error(
        """
        ERR This Redis instance is not configured to use an ACL file. You may want to specify \
        users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a \
        Redis configuration file set) in order to store users in the Redis configuration.
        """ as StaticString)
    return nil
}

private func loadUsers(_ call: Call) {
    guard let path = fileOrReply(call) else { return }
    if let problem = NodePointer.of(call).loadUsersFromFile(path) {
        return call.reply.error(Array("ERR ".utf8) + problem.onOneLine)
    }
    call.reply.ok()
}

private func saveUsers(_ call: Call) {
    guard fileOrReply(call) != nil else { return }
    let node = NodePointer.of(call)
    // A transaction cannot wait for it.
    guard !call.session.pointee.flags.contains(.executing) else {
        node.saveUsers(session: 0)
        return call.reply.ok()
    }
    node.saveUsers(session: call.session.pointee.id)
    call.executor.block(call.session, .operation(0))
}

extension NodePointer {
    /// Reads the users of the ACL file; nil, or what is wrong.
    func loadUsersFromFile(_ path: String) -> [UInt8]? {
        switch pointee.admin.readAccessFile?(path) {
        case .success(let contents): executor.loadUsers(file: contents, path: path)
        case .failure(let failure):
            Array("Error loading ACLs, opening file '\(path)': \(failure.reason)".utf8)
        case nil: Array("Error loading ACLs, opening file '\(path)': no files here".utf8)
        }
    }

    /// The users of the configuration or of the ACL file, at the start; why the process cannot
    /// start, if so.
    public func loadUsersAtStart() -> [String]? {
        let settings = self.settings
        if !settings.accessFile.isEmpty, !settings.users.isEmpty {
            return [
                """
                Configuring Redis with users defined in redis.conf and at the same setting an ACL \
                file path is invalid. This setup is very likely to lead to configuration errors \
                and security holes, please define either an ACL file or declare users directly in \
                your redis.conf, but not both.
                """
            ]
        }
        let (lines, failed) = executor.loadUsers(settings.users)
        if failed { return lines + ["Critical error while loading ACLs. Exiting."] }
        for line in lines { log(.notice, line) }
        if !settings.accessFile.isEmpty, let problem = loadUsersFromFile(settings.accessFile) {
            return [
                "Aborting Redis startup because of ACL errors: "
                    + String(decoding: problem, as: UTF8.self)
            ]
        }
        return nil
    }

    /// The file was written, or not.
    func usersSaved(session id: UInt64, _ failure: FileFailure?) {
        if let failure {
            log(
                .warning,
                "Saving the ACL file \(failure.path): \(failure.operation): \(failure.reason)")
        }
        guard let session = executor.pointee.sessions.find(id: id) else { return }
        if failure != nil {
            executor.writeError(
                session,
                "ERR There was an error trying to save the ACLs. Please check the server logs for "
                    + "more information")
        } else {
            session.pointee.output.pointee.append("+OK\r\n")
        }
        executor.unblock(session)
    }
}
