// The rules of `bind`, and the texts that operators look for.
import Base
import Glibc
import Server
import Testing

/// A port that nobody uses right now.
func freePort() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, size) | getsockname(descriptor, $0, &size)
        }
    }
    try #require(code == 0)
    return Int(UInt16(bigEndian: address.sin_port))
}

private func tryListen(_ port: Int, _ bind: [String]) -> (opened: Int?, lines: [String]) {
    var warnings: [String] = []
    do throws(ListenError) {
        let opened = try Listener.open(port: port, bind: bind, backlog: 16, warnings: &warnings)
        for descriptor in opened { Syscalls.close(descriptor) }
        return (opened.count, warnings)
    } catch {
        return (nil, error.lines)
    }
}

@Suite struct ListenerTests {
    @Test func anOptionalAddressMayBeMissing() throws {
        let port = try freePort()
        let found = tryListen(port, ["127.0.0.1", "-192.0.2.1"])
        #expect(found.opened == 1)
        #expect(
            found.lines == [
                "Warning: Could not create server TCP listening socket 192.0.2.1:\(port): "
                    + "bind: Cannot assign requested address"
            ])
    }

    @Test func aRequiredAddressMayNot() throws {
        let found = tryListen(try freePort(), ["127.0.0.1", "192.0.2.1"])
        #expect(found.opened == nil)
        #expect(found.lines.count == 1)
    }

    @Test func aPortInUseIsAnError() throws {
        let port = try freePort()
        var warnings: [String] = []
        let first = try Listener.open(
            port: port, bind: ["127.0.0.1"], backlog: 16, warnings: &warnings)
        defer { for descriptor in first { Syscalls.close(descriptor) } }
        let second = tryListen(port, ["127.0.0.1"])
        #expect(second.opened == nil)
        #expect(second.lines.first?.hasSuffix("bind: Address already in use") == true)
    }

    @Test func unixSocketsReplaceAnOldOne() throws {
        let folder = Folder()
        for _ in 0..<2 {
            let path = folder / "s.sock"
            let opened = try Listener.openUnix(path, permissions: 0o700, backlog: 16)
            #expect(folder.names == ["s.sock"])
            Syscalls.close(opened)
        }
    }

    @Test func aUnixPathMayBeTooLong() {
        let path = "/tmp/" + String(repeating: "x", count: 200)
        #expect(throws: ListenError.self) {
            try Listener.openUnix(path, permissions: 0, backlog: 16)
        }
    }
}
