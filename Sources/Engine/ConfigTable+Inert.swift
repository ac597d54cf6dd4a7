// Directives that change nothing here. Each is accepted and shown because configurations in use
// have it, and each has its reason, which docs/compatibility.md repeats. Whatever would break a
// promise by being ignored (a log for every write, encryption) is refused instead:
// see `addUnsupported`.
import Base

extension ConfigTable {
    /// Directives without effect, and why that harms nobody.
    public static let inertDirectives: [(name: String, reason: String)] = {
        var list = inertFamilies.flatMap { family in
            family.directives.map { (name: $0.name, reason: family.reason) }
        }
        list += inertWithSettings
        return list
    }()

    /// Why a directive has no effect, or nil when it has.
    public static func inertReason(_ name: String) -> String? {
        inertDirectives.first { $0.name == name }?.reason
    }

    /// Directives that `Settings` knows but nothing reads.
    private static var inertWithSettings: [(name: String, reason: String)] {
        return [
            ("dynamic-hz", "timed work is bounded per client already"),
            ("active-expire-effort", "expired keys are found by an exact index, not by sampling"),
            ("rdb-del-sync-files", "full synchronisation writes no files"),
            ("repl-diskless-load", "a replica always loads from the link beside its old data"),
            ("replica-lazy-flush", "replaced data is always given back little by little"),
            ("lazyfree-lazy-user-flush", "flushed data is always given back little by little"),
            ("maxmemory-eviction-tenacity", "eviction always goes on until the data fits"),
            ("sanitize-dump-payload", "payloads are always checked completely"),
            ("repl-disable-tcp-nodelay", "replica links send at once"),
            ("propagation-error-behavior", "a replica that cannot apply a write always says so"),
            ("replica-ignore-disk-write-errors", "a replica writes no log of its own"),
        ]
    }

    private struct Inert {
        var name: String
        var alias: String?
        var flags: ConfigFlags = []
        var kind: Kind

        enum Kind {
            case bool(Bool)
            case number(Int, ClosedRange<Int>, ConfigNumber)
            case text(String)
            case choice(String, [String])
        }
    }

    /// Directives with one reason; a statement for each keeps the compiler quick.
    private struct InertFamily {
        let reason: String
        var directives: [Inert] = []

        init(_ reason: String) { self.reason = reason }

        mutating func bool(_ name: String, _ value: Bool, _ flags: ConfigFlags = []) {
            directives.append(Inert(name: name, flags: flags, kind: .bool(value)))
        }
        mutating func number(
            _ name: String, _ value: Int, _ range: ClosedRange<Int>,
            _ form: ConfigNumber = .plain, alias: String? = nil, flags: ConfigFlags = []
        ) {
            let kind = Inert.Kind.number(value, range, form)
            directives.append(Inert(name: name, alias: alias, flags: flags, kind: kind))
        }
        mutating func text(_ name: String, _ value: String, _ flags: ConfigFlags = []) {
            directives.append(Inert(name: name, flags: flags, kind: .text(value)))
        }
        mutating func choice(
            _ name: String, _ value: String, _ names: [String], _ flags: ConfigFlags = []
        ) {
            directives.append(Inert(name: name, flags: flags, kind: .choice(value, names)))
        }
    }

    private static var inertFamilies: [InertFamily] {
        [inertFeatures, inertLog, inertProcess, inertDefragmentation, inertDebug]
    }

    private static var inertFeatures: InertFamily {
        var family = InertFamily(
            """
            concerns a feature whose commands this version does not have
            """)
        family.text("locale-collate", "")
        return family
    }

    private static var inertLog: InertFamily {
        var family = InertFamily(
            """
            tunes how a rewrite of the append-only file syncs, which it always does piece by piece
            """)
        family.bool("aof-rewrite-incremental-fsync", true)
        return family
    }

    private static var inertProcess: InertFamily {
        var family = InertFamily(
            """
            tunes threads, child processes, the allocator or the system in a way that does not \
            apply to this server
            """)
        family.bool("io-threads-do-reads", false, [.immutable])
        family.number("io-threads", 1, 1...128, flags: [.immutable])
        family.bool("rdb-save-incremental-fsync", true)
        family.bool("jemalloc-bg-thread", true)
        family.bool("disable-thp", true, [.immutable])
        family.text("server_cpulist", "", [.immutable])
        family.text("bio_cpulist", "", [.immutable])
        family.text("aof_rewrite_cpulist", "", [.immutable])
        family.text("bgsave_cpulist", "", [.immutable])
        family.text("ignore-warnings", "")
        family.text("syslog-ident", "redis", [.immutable])
        family.choice(
            "syslog-facility", "local0",
            [
                "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
                "local7",
            ], [.immutable])
        return family
    }

    private static var inertDefragmentation: InertFamily {
        var family = InertFamily(
            """
            tunes when active defragmentation puts a large value off; here a value of any size \
            is visited in shares
            """)
        family.number("active-defrag-max-scan-fields", 1000, 1...Int.max)
        return family
    }

    private static var inertDebug: InertFamily {
        var family = InertFamily(
            """
            changes crash reports for tests of the reference itself
            """)
        family.bool("crash-log-enabled", true)
        family.bool("crash-memcheck-enabled", true)
        family.bool("use-exit-on-panic", false, [.hidden])
        family.number("watchdog-period", 0, 0...intMax, flags: [.hidden])
        return family
    }

    static func addInert(_ table: inout ConfigEntries) {
        for family in inertFamilies {
            for directive in family.directives { table.all.append(entry(directive)) }
        }
    }

    private static func entry(_ directive: Inert) -> ConfigEntry {
        let name = directive.name
        let standard: String
        let form: ConfigForm
        let check: @Sendable ([String]) -> Result<String, ConfigReason>
        switch directive.kind {
        case .bool(let value):
            standard = value ? "yes" : "no"
            form = .plain
            check = { words in
                ConfigValue.bool(words).map { .success($0 ? "yes" : "no") }
                    ?? .failure(ConfigReason(ConfigValue.notBool))
            }
        case .number(let value, let range, let kind):
            standard = ConfigValue.text(value, kind)
            form = kind == .memory ? .memory : .plain
            check = { words in
                ConfigValue.number(words, range, kind).map { ConfigValue.text($0, kind) }
            }
        case .text(let value):
            standard = value
            form = .quoted(emptyIsUnset: true)
            check = { .success($0.first ?? "") }
        case .choice(let value, let names):
            standard = value
            form = .plain
            check = { words in
                ConfigValue.choice(words, names).map { .success($0) }
                    ?? .failure(ConfigReason(ConfigValue.notOneOf(names)))
            }
        }
        return ConfigEntry(
            name: name, alias: directive.alias, flags: directive.flags, form: form,
            get: { $0.inertValues[name] ?? standard },
            set: { settings, words in
                switch check(words) {
                case .failure(let reason): return reason.text
                case .success(let value):
                    settings.inertValues[name] = value == standard ? nil : value
                    return nil
                }
            })
    }

    // MARK: Refused

    /// Directives that may only have their default: to ignore another value would break a promise.
    static func addUnsupported(_ table: inout ConfigEntries) {
        let noTLS = "this version does not speak TLS"
        only(
            &table, "syslog-enabled", "no", ["no", "yes"], [.immutable],
            "set logfile, or let the supervisor log")
        only(&table, "socket-mark-id", "0", nil, [.immutable], "sockets are not marked")
        only(&table, "tls-port", "0", nil, [], noTLS)
        for name in ["tls-cluster", "tls-replication"] {
            only(&table, name, "no", ["no", "yes"], [], noTLS)
        }
        // The rest of TLS is without effect as long as those are off, but a key file that is
        // given and not used is a surprise: refused too.
        for name in [
            "tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-client-cert-file",
            "tls-client-key-file", "tls-client-key-file-pass", "tls-dh-params-file",
            "tls-ca-cert-file", "tls-ca-cert-dir", "tls-protocols", "tls-ciphers",
            "tls-ciphersuites",
        ] {
            only(&table, name, "", nil, [], noTLS)
        }
        only(&table, "tls-auth-clients", "yes", ["no", "yes", "optional"], [], noTLS)
        only(&table, "tls-prefer-server-ciphers", "no", ["no", "yes"], [], noTLS)
        only(&table, "tls-session-caching", "yes", ["no", "yes"], [], noTLS)
        only(&table, "tls-session-cache-size", "20480", nil, [], noTLS)
        only(&table, "tls-session-cache-timeout", "300", nil, [], noTLS)
    }

    private static func only(
        _ table: inout ConfigEntries, _ name: String, _ value: String, _ names: [String]?,
        _ flags: ConfigFlags, _ reason: String
    ) {
        table.special(
            name, flags: flags, form: value.isEmpty ? .quoted(emptyIsUnset: true) : .plain,
            get: { _ in value },
            set: { _, words in
                let word = (words.first ?? "").lowercased()
                if let names, !names.contains(word) {
                    return names == ["no", "yes"]
                        ? ConfigValue.notBool : ConfigValue.notOneOf(names)
                }
                return word == value ? nil : "'\(name)' is not supported by this version: \(reason)"
            })
    }
}
