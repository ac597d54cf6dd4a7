// The title that ps and top show: it is written over the memory where the kernel keeps the
// arguments and, behind them, the environment, which moves elsewhere first. Made once, before any
// thread.
import Base
import CLinux
import Engine
import Glibc

struct ProcessTitle {
    private let start: UnsafeMutablePointer<CChar>
    /// Bytes from there on that are ours.
    private let room: Int
    private let program: String

    /// Nil when the arguments do not lie in one piece.
    init?(program: String) {
        let count = Int(Swift.CommandLine.argc)
        let arguments = Swift.CommandLine.unsafeArgv
        guard count > 0, let first = arguments[0] else { return nil }
        var end = first
        for index in 0..<count {
            guard let argument = arguments[index], argument == end else { return nil }
            end = argument + strlen(argument) + 1
        }
        var kept: [(name: String, value: String)] = []
        var index = 0
        while let entry = clinux_environment()?[index] {
            if entry == end { end = entry + strlen(entry) + 1 }
            let text = String(cString: entry)
            if let mark = text.firstIndex(of: "=") {
                kept.append((String(text[..<mark]), String(text[text.index(after: mark)...])))
            }
            index += 1
        }
        clearenv()
        for (name, value) in kept { setenv(name, value, 1) }
        start = first
        room = end - first
        self.program = program
    }

    /// Shows what `proc-title-template` asks for.
    func show(_ settings: Settings, configFile: String) {
        guard settings.setProcTitle else { return }
        let text = ProcessTitleText.expand(settings.procTitleTemplate) { name in
            switch name {
            case "title": program
            case "listen-addr": Self.address(settings)
            case "server-mode":
                settings.isSentinel ? "[sentinel]" : settings.clusterEnabled ? "[cluster]" : ""
            case "port": "\(settings.port)"
            case "tls-port": "0"
            case "unixsocket": settings.unixSocket
            case "config-file": configFile
            default: nil
            }
        }
        guard let text else { return }
        let bytes = Array(text.utf8).prefix(room - 1)
        memset(start, 0, room)
        for (index, byte) in bytes.enumerated() { start[index] = CChar(bitPattern: byte) }
    }

    private static func address(_ settings: Settings) -> String {
        guard settings.port != 0 else { return settings.unixSocket }
        let host = settings.bind.first.map { $0.hasPrefix("-") ? String($0.dropFirst()) : $0 }
        return "\(host ?? "*"):\(settings.port)"
    }
}
