// Socket addresses as plain bytes: numeric texts to addresses and back, name resolution, and the
// forms that clients see (`127.0.0.1:6379`, `[::1]:6379`, `/path/of.sock:0`).
import Base
import CLinux
import Glibc

package struct SocketAddress: Sendable, Equatable {
    /// A `sockaddr_in` or `sockaddr_in6` as the system lays it out.
    private var bytes: [UInt8]

    var family: Int32 { Int32(bytes[0]) | Int32(bytes[1]) << 8 }
    var isIPv6: Bool { family == AF_INET6 }

    private init(_ address: UnsafePointer<sockaddr>, _ size: socklen_t) {
        bytes = Array(UnsafeRawBufferPointer(start: address, count: Int(size)))
    }

    /// Runs `body` on the address as the system wants it.
    func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        var storage = sockaddr_storage()
        return withUnsafeMutableBytes(of: &storage) { place in
            place.copyBytes(from: bytes)
            guard let base = place.baseAddress else { unreachable("no address storage") }
            return body(
                UnsafePointer(base.assumingMemoryBound(to: sockaddr.self)),
                socklen_t(bytes.count)
            )
        }
    }

    /// IP address as text.
    var host: String { texts().host }

    /// `127.0.0.1:6379` or `[::1]:6379`.
    var description: String {
        let (host, port) = texts()
        return isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    private func texts() -> (host: String, port: String) {
        var host = [CChar](repeating: 0, count: 64)
        var port = [CChar](repeating: 0, count: 16)
        let code = withSockaddr { address, size in
            getnameinfo(
                address,
                size,
                &host,
                socklen_t(host.count),
                &port,
                socklen_t(port.count),
                NI_NUMERICHOST | NI_NUMERICSERV
            )
        }
        guard code == 0 else { return ("?", "0") }
        return (text(host), text(port))
    }

    private func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Resolves `host`; with `numericOnly` it asks nobody and fails for names. Throws the
    /// resolver's text.
    static func resolve(
        _ host: String?,
        port: Int,
        family: Int32 = AF_UNSPEC,
        numericOnly: Bool = false,
        passive: Bool = false
    ) throws(ResolveError) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = family
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = (numericOnly ? AI_NUMERICHOST : 0) | (passive ? AI_PASSIVE : 0)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &list)
        guard code == 0, let list else {
            throw ResolveError(reason: String(cString: gai_strerror(code)))
        }
        defer { freeaddrinfo(list) }
        var found: [SocketAddress] = []
        var next: UnsafeMutablePointer<addrinfo>? = list
        while let entry = next {
            if let address = entry.pointee.ai_addr {
                found.append(SocketAddress(address, entry.pointee.ai_addrlen))
            }
            next = entry.pointee.ai_next
        }
        return found
    }

    /// The address of this end of a connected or bound socket.
    static func local(of descriptor: Int32) -> SocketAddress? {
        read { address, size in getsockname(descriptor, address, size) }
    }

    /// The address of the other end of a connected socket.
    static func peer(of descriptor: Int32) -> SocketAddress? {
        read { address, size in getpeername(descriptor, address, size) }
    }

    private static func read(
        _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &storage) { place -> SocketAddress? in
            guard let base = place.baseAddress else { return nil }
            let address = base.assumingMemoryBound(to: sockaddr.self)
            guard call(address, &size) == 0 else { return nil }
            let family = Int32(address.pointee.sa_family)
            guard family == AF_INET || family == AF_INET6 else { return nil }
            return SocketAddress(UnsafePointer(address), size)
        }
    }
}

/// A name that could not be resolved.
struct ResolveError: Error, Sendable, Equatable {
    var reason: String
}
