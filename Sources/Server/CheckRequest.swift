// What a process that only examines files was asked for: `martlet-server --check FILE…` and
// `--repair FILE…`, or the words of redis-check-aof and redis-check-rdb when the program is called
// by one of those names.
import Base

package struct CheckRequest: Equatable {
    package enum Form: Equatable {
        /// Ours: any kind of file, told by its contents.
        case any
        case referenceLog
        case referenceSnapshot
    }

    package var form = Form.any
    package var program = ""
    package var repairs = false
    package var json = false
    package var until: Int64?
    package var files: [String] = []
    /// The words cannot be understood; this is said, and the status is 1.
    package var problem: String?

    /// Nil when the process is to do something else.
    static func parse(program: String, _ words: [String]) -> CheckRequest? {
        let name = program.split(separator: "/").last.map(String.init) ?? ""
        if name.hasPrefix("redis-check-aof") || name.hasPrefix("martlet-check-aof") {
            return log(program, words)
        }
        if name.hasPrefix("redis-check-rdb") || name.hasPrefix("martlet-check-rdb") {
            return snapshot(program, words)
        }
        if words.first == "--check" || words.first == "--repair" { return own(program, words) }
        return nil
    }

    private static func log(_ program: String, _ words: [String]) -> CheckRequest {
        var request = CheckRequest()
        request.form = .referenceLog
        request.program = program
        switch (words.count, words.first) {
        case (1, _): request.files = words
        case (2, "--fix"):
            request.repairs = true
            request.files = [words[1]]
        case (3, "--truncate-to-timestamp"):
            request.until = Int64(words[1])
            request.files = [words[2]]
            if request.until == nil { request.problem = "Invalid timestamp, aborting...\n" }
        default:
            request.problem =
                "Usage: \(program) [--fix|--truncate-to-timestamp $timestamp] "
                + "<file.manifest|file.aof>\n"
        }
        return request
    }

    private static func snapshot(_ program: String, _ words: [String]) -> CheckRequest {
        var request = CheckRequest()
        request.form = .referenceSnapshot
        request.program = program
        request.files = words
        if words.count != 1 { request.problem = "Usage: \(program) <rdb-file-name>\n" }
        return request
    }

    private static func own(_ program: String, _ words: [String]) -> CheckRequest {
        var request = CheckRequest()
        request.program = program
        request.repairs = words.first == "--repair"
        for word in words.dropFirst() {
            if word == "--json" {
                request.json = true
            } else if word.hasPrefix("--") {
                request.problem = "\(program): unknown option \(word)\n"
            } else {
                request.files.append(word)
            }
        }
        if request.files.isEmpty, request.problem == nil {
            request.problem = "Usage: \(program) --check|--repair [--json] <file>...\n"
        }
        return request
    }
}
