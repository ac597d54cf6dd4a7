// Directives of a configuration into settings: names without regard to case, the reference's
// words for what is wrong. Covers what a node needs to run.
import Base
import Engine

/// A directive that cannot be taken.
struct DirectiveError: Error {
    /// From 1, in the assembled configuration.
    var line: Int
    var reason: String
}

enum Directives {
    static func load(_ lines: [String], into settings: inout Settings) throws(DirectiveError) {
        var savesSeen = false
        for (index, line) in lines.enumerated() {
            guard let words = split(line) else {
                throw DirectiveError(
                    line: index + 1,
                    reason: "Unbalanced quotes in configuration line"
                )
            }
            guard let name = words.first?.lowercased(), !name.hasPrefix("#") else { continue }
            var values = Array(words.dropFirst())
            if values.count == 1, ["bind", "save", "replicaof"].contains(name) {
                values = values[0].split(separator: " ").map(String.init)
            }
            if name == "save", !savesSeen {
                savesSeen = true
                settings.savePoints = []
            }
            if let reason = apply(name, values, &settings) {
                throw DirectiveError(line: index + 1, reason: reason)
            }
        }
    }

    private static func apply(
        _ name: String,
        _ values: [String],
        _ settings: inout Settings
    ) -> String? {
        switch name {
        case "bind":
            settings.bind = values
            return nil
        case "save":
            for index in stride(from: 0, to: values.count - 1, by: 2) {
                guard let seconds = Int(values[index]), let changes = Int(values[index + 1])
                else { return "Invalid save parameters" }
                settings.savePoints.append((seconds: seconds, changes: changes))
            }
            return nil
        case "replicaof", "slaveof":
            guard values.count == 2 else { return "wrong number of arguments" }
            guard let port = Int(values[1]), port > 0, port < 65536 else {
                return "Invalid master port"
            }
            settings.replicaOf = (host: values[0], port: port)
            return nil
        default: break
        }
        guard values.count == 1 else { return "wrong number of arguments" }
        let value = values[0]
        if let path = numbers[name] {
            guard let number = Int(value) else {
                return "argument couldn't be parsed into an integer"
            }
            settings[keyPath: path] = number
        } else if let path = switches[name] {
            guard value == "yes" || value == "no" else { return "argument must be 'yes' or 'no'" }
            settings[keyPath: path] = value == "yes"
        } else if let path = texts[name] {
            settings[keyPath: path] = value
        } else if name == "loglevel" {
            let names = ["debug", "verbose", "notice", "warning", "nothing"]
            guard let level = names.firstIndex(of: value).flatMap(LogLevel.init(rawValue:)) else {
                return "argument(s) must be one of the following: \(names.joined(separator: ", "))"
            }
            settings.logLevel = level
        } else if !ignored.contains(name) {
            return "Bad directive or wrong number of arguments"
        }
        return nil
    }

    private static var numbers: [String: WritableKeyPath<Settings, Int>] {
        [
            "port": \.port, "tcp-backlog": \.tcpBacklog, "tcp-keepalive": \.tcpKeepAlive,
            "timeout": \.timeout, "maxclients": \.maxClients, "databases": \.databases,
            "hz": \.hz, "cluster-node-timeout": \.clusterNodeTimeout,
            "cluster-port": \.clusterPort, "repl-backlog-size": \.backlogSize,
            "repl-timeout": \.replicationTimeout, "maxmemory": \.maxMemory,
            "cluster-migration-barrier": \.clusterMigrationBarrier,
            "repl-diskless-sync-delay": \.disklessSyncDelay,
            "cluster-replica-validity-factor": \.clusterReplicaValidityFactor,
            "shutdown-timeout": \.shutdownTimeout, "unixsocketperm": \.unixSocketPermissions,
            "min-replicas-to-write": \.minReplicasToWrite,
            "cluster-announce-port": \.clusterAnnouncePort,
            "cluster-announce-bus-port": \.clusterAnnounceBusPort,
        ]
    }

    private static var switches: [String: WritableKeyPath<Settings, Bool>] {
        [
            "cluster-enabled": \.clusterEnabled, "daemonize": \.daemonize,
            "always-show-logo": \.alwaysShowLogo, "protected-mode": \.protectedMode,
            "syslog-enabled": \.syslogEnabled,
            "cluster-require-full-coverage": \.clusterRequireFullCoverage,
            "cluster-allow-replica-migration": \.clusterAllowReplicaMigration,
            "cluster-replica-no-failover": \.clusterReplicaNoFailover,
            "rdbcompression": \.rdbCompression, "rdbchecksum": \.rdbChecksum,
            "repl-diskless-sync": \.disklessSync,
        ]
    }

    private static var texts: [String: WritableKeyPath<Settings, String>] {
        [
            "dir": \.directory, "logfile": \.logFile, "pidfile": \.pidFile,
            "unixsocket": \.unixSocket, "dbfilename": \.dbFilename,
            "requirepass": \.requirePassword, "masterauth": \.masterAuth,
            "supervised": \.supervised, "cluster-config-file": \.clusterConfigFile,
            "bind-source-addr": \.bindSourceAddress, "cluster-announce-ip": \.clusterAnnounceIP,
            "cluster-announce-hostname": \.clusterAnnounceHostname,
            "enable-debug-command": \.enableDebugCommand,
            "enable-module-command": \.enableModuleCommand,
            "enable-protected-configs": \.enableProtectedConfigs,
        ]
    }

    /// Accepted and without effect.
    private static var ignored: [String] { ["appendonly", "activerehashing", "appendfsync"] }

    /// The words of a line; nil when a quote is not closed.
    static func split(_ line: String) -> [String]? {
        var words: [String] = []
        var word: String?
        var quote: Character?
        var isEscaped = false
        for character in line {
            if let open = quote {
                if isEscaped {
                    word?.append(character == "n" ? "\n" : character)
                    isEscaped = false
                } else if character == "\\" {
                    isEscaped = true
                } else if character == open {
                    quote = nil
                } else {
                    word?.append(character)
                }
            } else if character == " " || character == "\t" || character == "\r" {
                if let done = word { words.append(done) }
                word = nil
            } else {
                word = word ?? ""
                if character == "\"" || character == "'" {
                    quote = character
                } else {
                    word?.append(character)
                }
            }
        }
        if let done = word { words.append(done) }
        return quote == nil ? words : nil
    }
}
