// Listening sockets, by the rules of `bind`: `*` and `::*` are every address of a family, a `-` in
// front makes an address optional when this machine does not have it, and a family that the
// kernel lacks is passed over. The texts are those that operators and test suites look for.
import Base
import CLinux
import Glibc

/// Why a node cannot listen; the lines say what was tried.
package struct ListenError: Error, Equatable {
    package var lines: [String]
}

package enum Listener {
    /// One socket for each address in `bind`. `warnings` gets a line for each that was passed over.
    package static func open(
        port: Int,
        bind: [String],
        backlog: Int,
        warnings: inout [String]
    ) throws(ListenError) -> [Int32] {
        var opened: [Int32] = []
        for entry in bind {
            let isOptional = entry.hasPrefix("-")
            let address = isOptional ? String(entry.dropFirst()) : entry
            do throws(Refusal) {
                opened.append(try open(address, port: port, backlog: backlog))
            } catch {
                let line =
                    "Warning: Could not create server TCP listening socket "
                    + "\(address):\(port): \(error.text)"
                warnings.append(line)
                if isOptional, error.code == EADDRNOTAVAIL { continue }
                if unsupported.contains(error.code) { continue }
                for descriptor in opened { Syscalls.close(descriptor) }
                throw ListenError(lines: warnings)
            }
        }
        return opened
    }

    /// Errnos that say that the kernel has no such family or protocol.
    private static var unsupported: [Int32] {
        [ENOPROTOOPT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPFNOSUPPORT, EAFNOSUPPORT]
    }

    private struct Refusal: Error {
        var text: String
        var code: Int32

        init(_ operation: String) {
            code = errno
            text = "\(operation): \(errorText(code))"
        }

        init(text: String) {
            code = 0
            self.text = text
        }
    }

    private static func open(
        _ address: String,
        port: Int,
        backlog: Int
    ) throws(Refusal) -> Int32 {
        let family = address.contains(":") ? AF_INET6 : AF_INET
        let host = address == "*" || address == "::*" ? nil : address
        let addresses: [SocketAddress]
        do {
            addresses = try SocketAddress.resolve(host, port: port, family: family, passive: true)
        } catch {
            throw Refusal(text: error.reason)
        }
        guard let first = addresses.first else { throw Refusal(text: "no address") }
        let descriptor = clinux_socket(family)
        guard descriptor >= 0 else { throw Refusal("socket") }
        do throws(Refusal) {
            try prepare(descriptor, isIPv6: family == AF_INET6)
            let bound = first.withSockaddr { Glibc.bind(descriptor, $0, $1) }
            if bound != 0 { throw Refusal("bind") }
            if Glibc.listen(descriptor, Int32(backlog)) != 0 { throw Refusal("listen") }
        } catch {
            Syscalls.close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func prepare(_ descriptor: Int32, isIPv6: Bool) throws(Refusal) {
        do {
            try Syscalls.setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
            if isIPv6 {
                // The IPv4 side of the port has a socket of its own.
                try Syscalls.setOption(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
            }
        } catch {
            throw Refusal(text: error.text)
        }
    }

    /// A unix socket at `path`; an old one there is removed first.
    package static func openUnix(
        _ path: String,
        permissions: Int,
        backlog: Int
    ) throws(ListenError) -> Int32 {
        func failed(_ reason: String) -> ListenError {
            ListenError(lines: ["Failed opening Unix socket: \(reason)"])
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        let characters = Array(path.utf8)
        guard characters.count < room else {
            throw failed(
                "unix socket path too long (\(characters.count)), must be under \(room)"
            )
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: characters) }
        unlink(path)
        let descriptor = clinux_socket(AF_UNIX)
        guard descriptor >= 0 else { throw failed("socket: \(errorText(errno))") }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor, $0, size)
            }
        }
        var failure: String?
        if bound != 0 {
            failure = "bind: \(errorText(errno))"
        } else if permissions != 0, chmod(path, mode_t(permissions)) != 0 {
            failure = "chmod: \(errorText(errno))"
        } else if Glibc.listen(descriptor, Int32(backlog)) != 0 {
            failure = "listen: \(errorText(errno))"
        }
        if let failure {
            Syscalls.close(descriptor)
            throw failed(failure)
        }
        return descriptor
    }

    /// Options of a connection that was accepted or opened: small replies leave at once, and a
    /// peer that vanished is noticed.
    static func prepareConnection(_ descriptor: Int32, keepAlive: Int) {
        do throws(SystemError) {
            try Syscalls.setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
            guard keepAlive > 0 else { return }
            try Syscalls.setOption(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
            let tcp = Int32(IPPROTO_TCP)
            try Syscalls.setOption(descriptor, tcp, TCP_KEEPIDLE, Int32(keepAlive))
            try Syscalls.setOption(descriptor, tcp, TCP_KEEPINTVL, Int32(max(1, keepAlive / 3)))
            try Syscalls.setOption(descriptor, tcp, TCP_KEEPCNT, 3)
        } catch {
            // The peer is gone already: the next read says so.
            maybe(true)
        }
    }
}
