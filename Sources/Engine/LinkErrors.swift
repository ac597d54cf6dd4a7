// Errors and replies where none may be: on the links between primary and replica. A replica that
// cannot apply what its primary did holds other data from there on, which must not go unnoticed;
// and a reply to a replica would be a part of the stream. The words are the reference's.
import Base

extension ExecutorPointer {
    /// An error came of a command on a replication link, in either direction; `command` is nil when
    /// there is no such command. A script's calls are no commands of the link.
    @inline(never)
    func noteErrorOnLink(
        _ session: UnsafeMutablePointer<Session>, _ command: UnsafeMutablePointer<Command>?,
        _ text: some Collection<UInt8>
    ) {
        guard pointee.scripts.run == nil else { return }
        let fromPrimary = session.pointee.flags.contains(.fromPrimary)
        let (from, to) = fromPrimary ? ("replica", "master") : ("master", "replica")
        let shown = String(decoding: text.prefix(4096), as: UTF8.self)
        pointee.stats.unexpectedErrorReplies &+= 1
        pointee.logLines.append(
            "== CRITICAL == This \(from) is sending an error to its \(to): '\(shown)' after "
                + "processing the command '\(nameOnLink(command))'")
    }

    /// A replica sent something that is answered. Nothing of it may leave: the link ends.
    @inline(never)
    func refuseReplyToReplica(
        _ session: UnsafeMutablePointer<Session>, _ command: UnsafeMutablePointer<Command>?
    ) {
        pointee.logLines.append(
            "Replica generated a reply to command '\(nameOnLink(command))', disconnecting it: "
                + clientLine(session, running: command?.pointee.id))
        close(session)
    }

    private func nameOnLink(_ command: UnsafeMutablePointer<Command>?) -> String {
        command.map { pointee.commands.pointee.fullName(of: $0) } ?? "<unknown>"
    }
}
