// The directives whose values are lists, or come in several lines.
import Base

extension ConfigTable {
    static func addBind(_ table: inout ConfigEntries) {
        table.special(
            "bind", flags: [.multiple, .process],
            form: .lines { settings in
                if settings.bind == Settings().bind { return [] }
                let words = settings.bind.isEmpty ? "\"\"" : settings.bind.joined(separator: " ")
                return [("bind " + words, true)]
            },
            get: { $0.bind.joined(separator: " ") },
            set: { settings, words in
                guard words.count <= 16 else { return "Too many bind addresses specified." }
                settings.bind = words == [""] ? [] : words
                return nil
            })
    }

    /// An amount of memory, or a percentage of `maxmemory`.
    static func addClientMemory(_ table: inout ConfigEntries) {
        table.special(
            "maxmemory-clients",
            form: .lines { settings in
                let value = settings.maxMemoryClients
                let isDefault = value == 0 && !settings.maxMemoryClientsIsPercentage
                if isDefault { return [] }
                let text =
                    settings.maxMemoryClientsIsPercentage
                    ? "\(value)%" : MemoryText.configuration(value)
                return [("maxmemory-clients " + text, true)]
            },
            get: { settings in
                let mark = settings.maxMemoryClientsIsPercentage ? "%" : ""
                return "\(settings.maxMemoryClients)\(mark)"
            },
            set: { settings, words in
                let word = words.first ?? ""
                let isPercentage = word.hasSuffix("%")
                let value =
                    isPercentage
                    ? Int(word.dropLast()).flatMap { $0 >= 0 ? $0 : nil } : MemoryText.bytes(word)
                guard let value else { return "argument must be a memory or percent value" }
                if isPercentage, value > 100 {
                    return "percentage argument must be less or equal to 100"
                }
                settings.maxMemoryClients = value
                settings.maxMemoryClientsIsPercentage = isPercentage
                return nil
            })
    }

    /// The scores of a primary, of a replica, and of a child process, which there is never.
    static func addScoreValues(_ table: inout ConfigEntries) {
        table.special(
            "oom-score-adj-values", flags: [.multiple, .process], form: .plain,
            get: { $0.oomScoreValues.map(String.init).joined(separator: " ") },
            set: { settings, words in
                guard words.count == 3 else { return "wrong number of arguments" }
                let values = words.compactMap { Int($0) }.filter { (-2000...2000).contains($0) }
                guard values.count == 3 else {
                    return "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
                }
                settings.oomScoreValues = values
                return nil
            })
    }

    /// The words in braces that a title may have.
    public static let titleFields = [
        "title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file",
    ]

    @Sendable
    static func titleProblem(_ template: String) -> String? {
        let isKnown = ProcessTitleText.expand(template) { titleFields.contains($0) ? "" : nil }
        return isKnown == nil ? "template format is invalid or contains unknown variables" : nil
    }

    static func addDirectory(_ table: inout ConfigEntries) {
        table.special(
            "dir", flags: [.protected, .denyLoading, .process],
            form: .lines { [("dir " + ConfigValue.quoted($0.directory), true)] },
            get: { $0.directory },
            set: { settings, words in
                guard words.count == 1 else { return "wrong number of arguments" }
                settings.directory = words[0]
                return nil
            })
    }

    static func addSave(_ table: inout ConfigEntries) {
        table.special(
            "save", flags: [.multiple],
            form: .lines { settings in
                if settings.savePoints.isEmpty { return [("save \"\"", true)] }
                return settings.savePoints.map { ("save \($0.seconds) \($0.changes)", true) }
            },
            get: { settings in
                settings.savePoints.map { "\($0.seconds) \($0.changes)" }.joined(separator: " ")
            },
            set: { settings, words in
                switch savePoints(words) {
                case .failure(let reason): return reason.text
                case .success(let points):
                    settings.savePoints = points
                    return nil
                }
            })
    }

    /// `seconds changes …`; a single empty word is none.
    static func savePoints(
        _ words: [String]
    ) -> Result<[(seconds: Int, changes: Int)], ConfigReason> {
        if words == [""] { return .success([]) }
        let numbers = words.compactMap { Int($0) }
        guard numbers.count == words.count, words.count % 2 == 0 else {
            return .failure(ConfigReason("Invalid save parameters"))
        }
        var points: [(seconds: Int, changes: Int)] = []
        for index in stride(from: 0, to: numbers.count, by: 2) {
            guard numbers[index] >= 1, numbers[index + 1] >= 0 else {
                return .failure(ConfigReason("Invalid save parameters"))
            }
            points.append((numbers[index], numbers[index + 1]))
        }
        return .success(points)
    }

    static func addReplicaOf(_ table: inout ConfigEntries) {
        table.special(
            "replicaof", alias: "slaveof", flags: [.immutable, .multiple],
            form: .lines { settings in
                guard let primary = settings.replicaOf, !settings.clusterEnabled else { return [] }
                return [("replicaof \(primary.host) \(primary.port)", true)]
            },
            get: { $0.replicaOf.map { "\($0.host) \($0.port)" } ?? "" },
            set: { settings, words in
                guard words.count == 2 else { return "wrong number of arguments" }
                if words[0].lowercased() == "no", words[1].lowercased() == "one" {
                    settings.replicaOf = nil
                    return nil
                }
                guard let port = Int(words[1]), (0...65535).contains(port) else {
                    return "Invalid master port"
                }
                settings.replicaOf = (words[0], port)
                return nil
            })
    }

    static func addShutdownSignal(
        _ table: inout ConfigEntries, _ name: String,
        _ path: SettingPath<String>
    ) {
        let names = ["default", "save", "nosave", "now", "force"]
        table.special(
            name, flags: [.multiple], form: .plain,
            get: { $0[keyPath: path] },
            set: { settings, words in
                let given = words.map { $0.lowercased() }
                guard !given.isEmpty, given.allSatisfy(names.contains) else {
                    return ConfigValue.notOneOf(names)
                }
                if given.contains("save"), given.contains("nosave") {
                    return "shutdown options SAVE and NOSAVE can't be used simultaneously"
                }
                let chosen = names.dropFirst().filter(given.contains)
                settings[keyPath: path] =
                    chosen.isEmpty ? "default" : chosen.joined(separator: " ")
                return nil
            })
    }

    static func addPercentiles(_ table: inout ConfigEntries) {
        let name = "latency-tracking-info-percentiles"
        let text: @Sendable (Settings) -> String = { settings in
            settings.latencyPercentiles.map { percentileText($0) }.joined(separator: " ")
        }
        table.special(
            name, flags: [.multiple],
            form: .lines { settings in
                let words = text(settings)
                return [("\(name) " + (words.isEmpty ? "\"\"" : words), true)]
            },
            get: text,
            set: { settings, words in
                var values: [Double] = []
                for word in words == [""] ? [] : words {
                    guard let value = word.withBytes({ $0.double }) else {
                        return "Invalid \(name) parameters"
                    }
                    guard value >= 0, value <= 100 else {
                        return "\(name) parameters should sit between [0.0,100.0]"
                    }
                    values.append(value)
                }
                settings.latencyPercentiles = values
                return nil
            })
    }

    /// Six decimals without the zeros at their end: `99.9`.
    public static func percentileText(_ value: Double) -> String {
        var text = MemoryText.fixed(value, 6)
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }

    // MARK: Buffers of clients

    static func addOutputLimits(_ table: inout ConfigEntries) {
        let name = "client-output-buffer-limit"
        table.special(
            name, flags: [.multiple],
            form: .lines { settings in
                let defaults = Settings()
                return limitClasses.map { word, path in
                    let limit = settings[keyPath: path]
                    let shown = word == "slave" ? "replica" : word
                    let hard = MemoryText.configuration(limit.hard)
                    let soft = MemoryText.configuration(limit.soft)
                    return (
                        "\(name) \(shown) \(hard) \(soft) \(limit.softSeconds)",
                        limit != defaults[keyPath: path]
                    )
                }
            },
            get: { settings in
                limitClasses.map { word, path in
                    let limit = settings[keyPath: path]
                    return "\(word) \(limit.hard) \(limit.soft) \(limit.softSeconds)"
                }.joined(separator: " ")
            },
            set: setOutputLimits)
    }

    private static var limitClasses:
        [(String, SettingPath<OutputLimit>)]
    {
        [
            ("normal", \.normalOutputLimit), ("slave", \.replicaOutputLimit),
            ("pubsub", \.pubsubOutputLimit),
        ]
    }

    /// `class hard soft seconds`, any number of times; all or nothing.
    @Sendable
    private static func setOutputLimits(_ settings: inout Settings, _ words: [String]) -> String? {
        guard words.count % 4 == 0 else {
            return "Wrong number of arguments in buffer limit configuration."
        }
        var next = settings
        for index in stride(from: 0, to: words.count, by: 4) {
            let word = words[index].lowercased() == "replica" ? "slave" : words[index].lowercased()
            guard let place = limitClasses.first(where: { $0.0 == word }) else {
                return "Invalid client class specified in buffer limit configuration."
            }
            guard let hard = MemoryText.bytes(words[index + 1]),
                let soft = MemoryText.bytes(words[index + 2]),
                let seconds = Int(words[index + 3]), seconds >= 0
            else {
                return "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            }
            next[keyPath: place.1] = OutputLimit(hard: hard, soft: soft, softSeconds: seconds)
        }
        settings = next
        return nil
    }
}
