// A connection to a peer: the cluster bus in both directions, a replica's link to its primary, the
// target of MIGRATE. Cold next to clients, so it may keep a queue of its own; what it says to the
// node is in `EventLoop+Links.swift`.
import Base
import CLinux
import Glibc
import Gossip
import NodeCore

typealias LinkPointer = UnsafeMutablePointer<Link>

struct Link: ~Copyable {
    enum Phase {
        /// Waits for the resolver.
        case resolving
        /// The connect is under way.
        case connecting
        case open
    }

    let id: LinkID
    let kind: LinkKind
    var phase: Phase
    /// nil while resolving.
    var registration: RegistrationPointer?
    /// What is still to be written.
    var queue = Buffer()
    /// Is in the loop's list of links with something to write.
    var isDirty = false
    /// Addresses not tried yet, in order.
    var candidates: [SocketAddress] = []

    init(id: LinkID, kind: LinkKind, phase: Phase) {
        self.id = id
        self.kind = kind
        self.phase = phase
    }
}

extension LinkFailure {
    /// What an errno of connect, read or write means for the peer. Refused is evidence of a dead
    /// process, so nothing else may pass for it.
    init(errno code: Int32) {
        self =
            switch code {
            case ECONNREFUSED: .refused
            case ECONNRESET, EPIPE, ECONNABORTED: .reset
            case ETIMEDOUT: .timedOut
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: .local
            default: .unreachable
            }
    }
}

enum Connector {
    /// Starts a connection. Returns a descriptor on which the connect is under way or done.
    static func start(
        _ address: SocketAddress,
        source: String
    ) throws(SystemError) -> Int32 {
        let descriptor = clinux_socket(address.family)
        guard descriptor >= 0 else { throw SystemError("socket") }
        do throws(SystemError) {
            if !source.isEmpty { try bind(descriptor, to: source, family: address.family) }
            Listener.prepareConnection(descriptor, keepAlive: 0)
            let code = address.withSockaddr { Glibc.connect(descriptor, $0, $1) }
            if code != 0, errno != EINPROGRESS, errno != EINTR { throw SystemError("connect") }
        } catch {
            Syscalls.close(descriptor)
            throw error
        }
        return descriptor
    }

    /// `bind-source-addr`, where it is of the family.
    private static func bind(
        _ descriptor: Int32,
        to source: String,
        family: Int32
    ) throws(SystemError) {
        let found: [SocketAddress]
        do {
            found = try SocketAddress.resolve(source, port: 0, family: family, numericOnly: true)
        } catch {
            return
        }
        guard let address = found.first else { return }
        try Syscalls.setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        let code = address.withSockaddr { Glibc.bind(descriptor, $0, $1) }
        if code != 0 { throw SystemError("bind", source) }
    }

    /// The outcome of a connect that was under way: 0, or the errno.
    static func outcome(_ descriptor: Int32) -> Int32 {
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        if getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) != 0 { return errno }
        return code
    }
}
