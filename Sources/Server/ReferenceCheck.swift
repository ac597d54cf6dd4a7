// redis-check-aof and redis-check-rdb, word for word as far as scripts and test suites look: the
// same sentences, questions and exit status. One thing differs: what `--fix` cuts off is kept in a
// file beside, whose name is said.
import Base
import CLinux
import Glibc
import NodeCore
import Persistence

enum ReferenceCheck {
    private enum Outcome {
        case valid
        case empty
        case truncated
        case truncatedToTime
    }

    /// The process ends with status 1 after these words.
    private struct Stop: Error {
        var text: String
    }

    private static func say(_ text: String) { Syscalls.say(text + "\n", to: STDOUT_FILENO) }

    // MARK: redis-check-aof

    static func log(_ request: CheckRequest) -> Int32 {
        do throws(Stop) {
            try checkLog(request)
            return 0
        } catch {
            say(error.text)
            return 1
        }
    }

    private static func checkLog(_ request: CheckRequest) throws(Stop) {
        let path = request.files[0]
        let kind: CheckFiles.Kind
        do throws(UnreadableFile) {
            kind = try CheckFiles.kind(path)
        } catch {
            throw Stop(text: "Cannot open file \(path): \(error.reason)")
        }
        if kind == .manifest { return try checkParts(request, path) }
        say("Start checking Old-Style AOF")
        let outcome = try check(request, name: path, path: path, isLast: true)
        announce(outcome, "AOF", path, request)
    }

    private static func checkParts(_ request: CheckRequest, _ path: String) throws(Stop) {
        say("Start checking Multi Part AOF")
        let manifest = try readManifest(path)
        let last = manifest.files.count - 1
        for (index, file) in manifest.files.enumerated() {
            let place = CheckFiles.sibling(of: path, file.name)
            if file.kind == .base {
                let isRDB = try startsAsRDB(place)
                say("Start to check BASE AOF (\(isRDB ? "RDB" : "RESP") format).")
            } else if file == manifest.increments.first {
                say("Start to check INCR files.")
            }
            let outcome = try check(request, name: file.name, path: place, isLast: index == last)
            announce(outcome, file.kind == .base ? "BASE AOF" : "INCR AOF", file.name, request)
        }
        say("All AOF files and manifest are valid")
    }

    private static func readManifest(_ path: String) throws(Stop) -> AOFManifest {
        let parsed: Result<AOFManifest, AOFManifestError>
        do throws(UnreadableFile) {
            parsed = try CheckFiles.manifest(path)
        } catch {
            throw Stop(text: "Cannot open file \(path): \(error.reason)")
        }
        switch parsed {
        case .success(let manifest): return manifest
        case .failure(let error):
            say("\n*** FATAL AOF MANIFEST FILE ERROR ***\n")
            if let line = error.line {
                say("Reading the manifest file, at line \(line)\n>>> '\(error.text)'")
            }
            throw Stop(text: error.reason)
        }
    }

    private static func startsAsRDB(_ path: String) throws(Stop) -> Bool {
        var isRDB = false
        do throws(UnreadableFile) {
            _ = try CheckFiles.read(path) { piece in
                isRDB = piece.count >= 8 && piece[0..<5] == "REDIS"
                return false
            }
        } catch {
            throw Stop(text: "Cannot open file \(path): \(error.reason)")
        }
        return isRDB
    }

    private static func announce(
        _ outcome: Outcome, _ title: String, _ name: String, _ request: CheckRequest
    ) {
        switch outcome {
        case .valid: say("\(title) \(name) is valid")
        case .empty: say("\(title) \(name) is empty")
        case .truncated: say("Successfully truncated AOF \(name)")
        case .truncatedToTime:
            say("Successfully truncated AOF \(name) to timestamp \(request.until ?? 0)")
        }
    }

    private static func check(
        _ request: CheckRequest, name: String, path: String, isLast: Bool
    ) throws(Stop) -> Outcome {
        var progress = CheckProgress(isShown: false)
        let findings: LogFindings
        do throws(UnreadableFile) {
            findings = try CheckFiles.examineLog(path, until: request.until, &progress)
        } catch {
            throw Stop(text: "Cannot open file \(path): \(error.reason), aborting...")
        }
        if findings.size == 0 { return .empty }
        if let preamble = findings.preamble {
            sayFindings(preamble, name)
            if preamble.error != nil {
                throw Stop(text: "RDB preamble of AOF file is not sane, aborting.")
            }
            say("RDB preamble is OK, proceeding with AOF tail...")
        }
        if let later = findings.laterFrom {
            try cutToTime(request, path, later, isLast: isLast)
            return .truncatedToTime
        }
        if let problem = findings.problem {
            if problem.contains("Expected prefix '*'") { say("AOF \(name) format error") }
            say(problem)
        }
        let left = findings.size - findings.wholeUpTo
        if left == 0, let until = request.until {
            say("Truncate nothing in AOF \(name) to timestamp \(until)")
            return .valid
        }
        say(
            "AOF analyzed: filename=\(name), size=\(findings.size), "
                + "ok_up_to=\(findings.wholeUpTo), ok_up_to_line=\(findings.line), diff=\(left)")
        guard left > 0 else { return .valid }
        guard request.repairs else {
            throw Stop(text: "AOF \(name) is not valid. Use the --fix option to try fixing it.")
        }
        try fix(name, path, findings, isLast: isLast)
        return .truncated
    }

    private static func cutToTime(
        _ request: CheckRequest, _ path: String, _ offset: Int64, isLast: Bool
    ) throws(Stop) {
        let until = request.until ?? 0
        if offset == 0 {
            throw Stop(
                text: "AOF \(path) has nothing before timestamp \(until), aborting...")
        }
        guard isLast else {
            throw Stop(
                text: "Failed to truncate AOF \(path) to timestamp \(until) to offset \(offset) "
                    + "because it is not the last file.\nIf you insist, please delete all files "
                    + "after this file according to the manifest file and delete the "
                    + "corresponding records in manifest file manually. Then re-run "
                    + "redis-check-aof.")
        }
        do throws(UnreadableFile) {
            say("What follows is kept in \(try CheckFiles.cut(path, at: offset))")
        } catch {
            throw Stop(text: "Failed to truncate AOF \(path) to timestamp \(until)")
        }
    }

    private static func fix(
        _ name: String, _ path: String, _ findings: LogFindings, isLast: Bool
    ) throws(Stop) {
        guard isLast else {
            throw Stop(
                text: "Failed to truncate AOF \(name) because it is not the last file")
        }
        let left = findings.size - findings.wholeUpTo
        say(
            "This will shrink the AOF \(name) from \(findings.size) bytes, with \(left) bytes, to "
                + "\(findings.wholeUpTo) bytes")
        Syscalls.say("Continue? [y/N]: ", to: STDOUT_FILENO)
        let answer = readLine() ?? ""
        guard answer.lowercased().hasPrefix("y") else { throw Stop(text: "Aborting...") }
        do throws(UnreadableFile) {
            let kept = try CheckFiles.cut(path, at: findings.wholeUpTo)
            say("What is cut off is kept in \(kept)")
        } catch {
            throw Stop(text: "Failed to truncate AOF \(name)")
        }
    }

    // MARK: redis-check-rdb

    static func snapshot(_ path: String) -> Int32 {
        var progress = CheckProgress(isShown: false)
        do throws(UnreadableFile) {
            let (findings, _) = try CheckFiles.examineSnapshot(path, &progress)
            sayFindings(findings, path)
            if findings.error == nil {
                say("[offset \(findings.offset)] \\o/ RDB looks OK! \\o/")
                sayCounts(findings)
            }
            return findings.error == nil ? 0 : 1
        } catch {
            say("Cannot open file \(path): \(error.reason)")
            return 1
        }
    }

    private static func sayFindings(_ findings: RDBFindings, _ path: String) {
        say("[offset 0] Checking RDB file \(path)")
        for field in findings.auxiliary {
            say("[offset \(field.offset)] AUX FIELD \(field.name) = '\(field.value)'")
        }
        for database in findings.databases {
            say("[offset \(database.offset)] Selecting DB ID \(database.number)")
        }
        if let error = findings.error {
            say("--- RDB ERROR DETECTED ---\n[offset \(findings.offset)] \(error)")
            if !findings.lastKey.isEmpty {
                say("[additional info] Reading key '\(findings.lastKey)'")
            }
            return sayCounts(findings)
        }
        switch findings.checksum {
        case .verified: say("[offset \(findings.offset)] Checksum OK")
        case .disabledByWriter:
            say("[offset \(findings.offset)] RDB file was saved with checksum disabled: no check "
                + "performed.")
        default: break
        }
    }

    private static func sayCounts(_ findings: RDBFindings) {
        say("[info] \(findings.keys) keys read")
        say("[info] \(findings.expiring) expires")
        say("[info] \(findings.expired) already expired")
    }
}
