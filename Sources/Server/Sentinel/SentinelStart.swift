// How a sentinel starts: its configuration file holds the directives of any server beside its own,
// and it must be writable, since what the sentinel learns is kept there. Defaults differ from a
// node's: another port, open to other hosts, and nothing is ever saved of data.
import Base
import Engine
import CLinux
import Glibc
import NodeCore
import Sentinel

/// A sentinel as it was read, before the loop exists.
struct SentinelPlan {
    let path: String
    fileprivate let directives: [SentinelConf.Directive]
    fileprivate let text: ConfigText

    /// Settings from the lines that are not the sentinel's own, and the plan from those that are.
    static func read(
        _ options: LaunchOptions
    ) throws(ConfigRefusal) -> (settings: Settings, plan: SentinelPlan) {
        guard let file = options.configFile else {
            throw .unreadable(
                "Sentinel needs config file on disk to save state. Exiting...")
        }
        let path = RestartPlan.absolute(file)
        let text: ConfigText
        do throws(ConfigText.Failure) {
            text = try ConfigText.read(options)
        } catch {
            throw .unreadable(error.text)
        }
        guard access(path, W_OK) == 0 else {
            throw .unreadable(
                "Sentinel config file \(file) is not writable: \(errorText(errno)). Exiting...")
        }
        do throws(SystemError) {
            // A vote that this process stands by must not be forgotten.
            try Syscalls.settle(path)
        } catch {
            throw .unreadable("Sentinel config file \(file): \(error.text). Exiting...")
        }
        var directives: [SentinelConf.Directive] = []
        var rest: [String] = []
        for (index, line) in text.lines.enumerated() {
            let isOurs = firstWord(line) == "sentinel"
            rest.append(isOurs ? "" : line)
            guard isOurs else { continue }
            guard let words = ConfigTable.words(trimmed(line)) else {
                throw .wrong(
                    configReport(
                        text.origin(ofLine: index + 1), line: trimmed(line),
                        reason: "Unbalanced quotes in configuration line"))
            }
            if words.count > 1 {
                directives.append(
                    SentinelConf.Directive(number: index + 1, words: Array(words.dropFirst())))
            }
        }
        var settings = defaults
        do throws(ConfigError) {
            try ConfigTable.load(
                text: rest.joined(separator: "\n"), file: file, into: &settings)
        } catch {
            throw .wrong(
                configReport(
                    text.origin(ofLine: error.line), line: error.text, reason: error.reason))
        }
        settings.isSentinel = true
        settings.clusterEnabled = false
        settings.replicaOf = nil
        settings.savePoints = []
        return (settings, SentinelPlan(path: path, directives: directives, text: text))
    }

    private static var defaults: Settings {
        var settings = Settings()
        settings.port = 26379
        settings.protectedMode = false
        return settings
    }

    private static func trimmed(_ line: String) -> String {
        line.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
            .split(whereSeparator: { $0 == "\r" }).joined()
    }

    private static func firstWord(_ line: String) -> String {
        let word = line.split { " \t\r\"'".contains($0) }.first ?? ""
        return word.lowercased()
    }

    /// The sentinel itself. A name that does not resolve is no reason not to start. Paths of
    /// scripts count from `folder`, where the process is going to be.
    func makeState(
        at now: Now = Clock.now(), folder: String = "."
    ) throws(ConfigRefusal) -> SentinelState {
        func isExecutable(_ path: String) -> Bool {
            access(path.hasPrefix("/") ? path : "\(folder)/\(path)", X_OK) == 0
        }
        do throws(SentinelConf.Failure) {
            return try SentinelState.load(
                directives, seed: Entropy.seed(), now: now,
                resolve: SentinelPlan.resolve, isExecutable: isExecutable)
        } catch {
            let line = text.lines[error.number - 1]
            throw .wrong(
                configReport(
                    text.origin(ofLine: error.number), line: Self.trimmed(line),
                    reason: error.reason))
        }
    }

    static func resolve(_ name: String) -> String? {
        do throws(ResolveError) {
            return try SocketAddress.resolve(name, port: 0).first?.host
        } catch {
            return nil
        }
    }
}

extension NodePointer {
    /// What a sentinel shares with any node: connections, subscriptions, the table of commands.
    private static func isShared(_ name: String) -> Bool {
        let containers: Set<String> = ["acl", "command"]
        if let bar = name.firstIndex(of: "|"), containers.contains(String(name[..<bar])) {
            return true
        }
        let shared: Set<String> = [
            "acl", "auth", "client", "command", "hello", "ping", "psubscribe", "punsubscribe",
            "quit", "shutdown", "subscribe", "unsubscribe", "client|caching", "client|getname",
            "client|getredir", "client|help", "client|id", "client|info", "client|kill",
            "client|list", "client|no-evict", "client|pause", "client|reply", "client|setname",
            "client|tracking", "client|trackinginfo", "client|unblock", "client|unpause",
            // Since 7.2, for clients that introduce themselves.
            "client|setinfo",
        ]
        return shared.contains(name)
    }

    /// A node without data that knows a sentinel's commands only.
    static func makeSentinel(settings: Settings) -> NodePointer {
        let node = make(
            settings: settings, now: Clock.now(), seed: Entropy.seed(),
            sipKey: Entropy.sipKey(), extensions: [.sentinel], only: { isShared($0) })
        // Understood, but not in the lists of sentinels of 7.0.
        let commands = node.executor.pointee.commands
        commands.pointee.hide("quit")
        commands.pointee.hide("client|setinfo")
        // Ours.
        commands.pointee.hide("sentinel|monitor-cluster")
        return node
    }
}
