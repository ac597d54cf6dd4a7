// `martlet-server --check` and `--repair`: one line per file, or one JSON object each, and a status
// that scripts can use: 0 all is well (or was repaired), 1 something is damaged, 2 something could
// not be examined. Repairing cuts the end of the last file of a log behind its last whole command
// and keeps what is cut; anything else would invent or drop data in the middle, and is only said.
import Base
import CLinux
import Glibc
import NodeCore
import Persistence

struct CheckTool {
    private let request: CheckRequest
    private var progress: CheckProgress
    private var status: Int32 = 0

    /// Does what was asked; the exit status.
    static func run(_ request: CheckRequest) -> Int32 {
        if let problem = request.problem {
            Syscalls.say(problem, to: STDOUT_FILENO)
            return 1
        }
        switch request.form {
        case .referenceLog: return ReferenceCheck.log(request)
        case .referenceSnapshot: return ReferenceCheck.snapshot(request.files[0])
        case .any:
            var tool = CheckTool(request)
            for file in request.files { tool.check(file) }
            return tool.status
        }
    }

    private init(_ request: CheckRequest) {
        self.request = request
        progress = CheckProgress(isShown: !request.json)
    }

    private mutating func check(_ path: String) {
        do throws(UnreadableFile) {
            switch try CheckFiles.kind(path) {
            case .snapshot: try checkSnapshot(path)
            case .log: try checkLog(path, isLast: true)
            case .manifest: try checkManifest(path)
            }
        } catch {
            report(path, "unreadable", [("problem", .text(error.reason))])
            status = max(status, 2)
        }
    }

    private mutating func checkSnapshot(_ path: String) throws(UnreadableFile) {
        let (findings, size) = try CheckFiles.examineSnapshot(path, &progress)
        var facts: [(String, CheckFact)] = [
            ("kind", .text("rdb")), ("version", .number(Int64(findings.version))),
            ("size", .number(size)), ("keys", .number(findings.keys)),
            ("expires", .number(findings.expiring)), ("expired", .number(findings.expired)),
        ]
        if let checksum = findings.checksum { facts.append(("checksum", .text("\(checksum)"))) }
        guard let error = findings.error else { return report(path, "valid", facts) }
        facts.append(("problem", .text("\(error)")))
        facts.append(("whole-up-to", .number(Int64(findings.offset))))
        report(path, "damaged", facts)
        status = max(status, 1)
    }

    private mutating func checkLog(_ path: String, isLast: Bool) throws(UnreadableFile) {
        let findings = try CheckFiles.examineLog(path, &progress)
        var facts: [(String, CheckFact)] = [
            ("kind", .text("aof")), ("size", .number(findings.size)),
            ("commands", .number(findings.commands)),
        ]
        if let preamble = findings.preamble { facts.append(("keys", .number(preamble.keys))) }
        if let first = findings.firstTime { facts.append(("first-time", .number(first))) }
        if let last = findings.lastTime { facts.append(("last-time", .number(last))) }
        if findings.isWhole {
            return report(path, findings.size == 0 ? "empty" : "valid", facts)
        }
        facts.append(("whole-up-to", .number(findings.wholeUpTo)))
        facts.append(("dropped-bytes", .number(findings.size - findings.wholeUpTo)))
        facts.append(("problem", .text(findings.problem ?? "damaged")))
        var isRepairable = isLast
        switch findings.verdict {
        case .cut(let cut), .refuse(let cut, _):
            facts.append(("finding", .text("\(cut.finding)")))
            facts.append(("dropped-commands", .number(cut.commands)))
        case .whole: isRepairable = false
        }
        guard request.repairs, isRepairable else {
            facts.append(("repairable", .flag(isRepairable)))
            report(path, "damaged", facts)
            status = max(status, 1)
            return
        }
        let kept = try CheckFiles.cut(path, at: findings.wholeUpTo)
        facts.append(("kept-in", .text(kept)))
        report(path, "repaired", facts)
    }

    private mutating func checkManifest(_ path: String) throws(UnreadableFile) {
        switch try CheckFiles.manifest(path) {
        case .failure(let error):
            var facts: [(String, CheckFact)] = [
                ("kind", .text("manifest")), ("problem", .text(error.reason)),
            ]
            if let line = error.line { facts.append(("line", .number(Int64(line)))) }
            report(path, "damaged", facts)
            status = max(status, 1)
        case .success(let manifest):
            report(
                path, "valid",
                [
                    ("kind", .text("manifest")),
                    ("files", .number(Int64(manifest.files.count))),
                    ("history", .number(Int64(manifest.history.count))),
                ])
            let files = manifest.files.map { CheckFiles.sibling(of: path, $0.name) }
            for (index, file) in files.enumerated() {
                let isLast = files[(index + 1)...].allSatisfy(CheckFiles.isEmpty)
                try checkLog(file, isLast: isLast)
            }
        }
    }

    // MARK: Words

    private func report(_ path: String, _ verdict: String, _ facts: [(String, CheckFact)]) {
        var line: String
        if request.json {
            line = "{\"file\":\(CheckFact.text(path).json),\"verdict\":\"\(verdict)\""
            for (name, fact) in facts { line += ",\"\(name)\":\(fact.json)" }
            line += "}"
        } else {
            line = "\(path): \(verdict)"
            for (name, fact) in facts { line += ", \(name) \(fact.plain)" }
        }
        Syscalls.say(line + "\n", to: STDOUT_FILENO)
    }
}

/// One fact about a file.
enum CheckFact {
    case text(String)
    case number(Int64)
    case flag(Bool)

    var plain: String {
        switch self {
        case .text(let text): text
        case .number(let number): String(number)
        case .flag(let flag): flag ? "yes" : "no"
        }
    }

    var json: String {
        switch self {
        case .number(let number): return String(number)
        case .flag(let flag): return flag ? "true" : "false"
        case .text(let text):
            var out = "\""
            for scalar in text.unicodeScalars {
                switch scalar {
                case "\"": out += "\\\""
                case "\\": out += "\\\\"
                case "\n": out += "\\n"
                case "\r": out += "\\r"
                case "\t": out += "\\t"
                default:
                    if scalar.value < 32 {
                        let digits = String(scalar.value, radix: 16)
                        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                    } else {
                        out.unicodeScalars.append(scalar)
                    }
                }
            }
            return out + "\""
        }
    }
}
