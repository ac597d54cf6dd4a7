// Words and calls that the project does without, each with the reason and the files that may.
import Foundation
import Testing

private struct Ban: Sendable {
    let pattern: String
    let reason: String
    var allowedIn: Set<String> = []
}

/// Searched in code, without comments and strings.
private let bansInCode: [Ban] = [
    Ban(pattern: #"\btry!"#, reason: "handle the error or make it an invariant"),
    Ban(pattern: #"\bas!"#, reason: "cast with `as?` and handle the other case"),
    Ban(
        pattern: #"[A-Za-z0-9_\)\]]!(?!=)"#,
        reason: "unwrap with `guard let`, or state the invariant"),
    Ban(
        pattern: #"\b(fatalError|preconditionFailure|assertionFailure)\("#,
        reason: "optimised builds drop its text: use `invariant` or `unreachable`",
        allowedIn: ["Sources/Base/Invariant.swift"]),
    Ban(
        pattern: #"\bprecondition\("#, reason: "optimised builds drop its text: use `invariant`",
        allowedIn: ["Sources/Base/Invariant.swift"]),
    Ban(
        pattern: #"\bnonisolated\(unsafe\)"#, reason: "constant tables only, listed here",
        allowedIn: [
            "Sources/HashSlots/CRC16.swift", "Sources/Base/CRC64.swift",
        ]),
    Ban(
        pattern: #"@unchecked Sendable"#, reason: "only the types that cross threads, listed here",
        allowedIn: [
            "Sources/Server/Ring.swift", "Sources/Server/IOThreads.swift",
            "Sources/Server/BackgroundJobs.swift",
        ]),
    Ban(
        pattern: #"\b(Task|actor|DispatchQueue|async|await)\b"#,
        reason: "one event loop owns the data; threads exchange messages through Server"),
    Ban(
        pattern: #"(?<![.\w])(debugPrint|print|dump|NSLog)\("#, reason: "log through Base.Log",
        allowedIn: ["Sources/simulate/main.swift"]),
]

/// Time and randomness come from two files, so that everything else can run in the simulator.
private let clockAndEntropy = Ban(
    pattern:
        #"(?<![.\w])(clock_gettime|gettimeofday|time\(nil|getrandom|getentropy|rand\(|random\(\)|arc4random|Date\()|\b(ContinuousClock|SuspendingClock|SystemRandomNumberGenerator)\b|\.(random\(in: [^)]*\)|randomElement\(\)|shuffled\(\)|shuffle\(\))"#,
    reason: "only Clock.swift and Entropy.swift read time and randomness",
    allowedIn: ["Sources/Server/Clock.swift", "Sources/Server/Entropy.swift"])

/// Calls that take or make a file descriptor.
private let descriptorCalls = Ban(
    pattern:
        #"(?<![.\w]|func )(socket|accept4?|listen|bind|connect|epoll_\w+|eventfd|timerfd_\w+|open|openat|read|pread|readv|write|pwrite|writev|recv|recvmsg|send|sendmsg|sendfile|fsync|fdatasync|ftruncate|lseek|close|pipe2?|dup[23]?|fcntl|ioctl|fopen)\("#,
    reason: "only Server names file descriptors")

@Suite struct WordTests {
    @Test func codeAvoidsBannedWords() throws {
        let sources = try SourceTree.sources.get()
        for ban in bansInCode + [clockAndEntropy] {
            try report(ban, in: sources)
        }
    }

    @Test func onlyServerNamesFileDescriptors() throws {
        // Without the C library in scope such a name is a method of ours.
        let files = try SourceTree.sources.get().filter { file in
            file.target != "Server"
                && file.imports.contains { ["Glibc", "CLinux"].contains($0.module) }
        }
        try report(descriptorCalls, in: files)
    }

    @Test func nothingIsLeftForLater() throws {
        // Assembled, so that this file does not hold what it looks for.
        let words = ["TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK"]
        for file in try everything() {
            for (index, line) in file.lines.enumerated() {
                for word in words where line.contains(word) {
                    Issue.record("\(file.path):\(index + 1): \(word)")
                }
            }
        }
    }

    @Test func nothingIsBuiltUnchecked() throws {
        let flag = "-Oun" + "checked"
        for file in try everything() + [SourceTree().file("Package.swift")] {
            for (index, line) in file.lines.enumerated() where line.contains(flag) {
                Issue.record("\(file.path):\(index + 1): \(flag) makes our checks assumptions")
            }
        }
    }

    @Test func sourcesDoWithoutFoundation() throws {
        let modules: Set<String> = [
            "Foundation", "FoundationEssentials", "Dispatch", "XCTest", "RegexBuilder",
        ]
        for file in try SourceTree.sources.get() {
            for (line, module) in file.imports where modules.contains(module) {
                Issue.record("\(file.path):\(line): import \(module)")
            }
        }
    }

    private func report(_ ban: Ban, in files: [SourceFile]) throws {
        // Foundation's expressions, because those of the standard library cannot look behind.
        let pattern = try NSRegularExpression(pattern: ban.pattern)
        for file in files where !ban.allowedIn.contains(file.path) {
            let text = file.code.joined(separator: "\n")
            let all = NSRange(text.startIndex..., in: text)
            for found in pattern.matches(in: text, range: all) {
                guard let range = Range(found.range, in: text) else { continue }
                let line = text[..<range.lowerBound].split(
                    separator: "\n", omittingEmptySubsequences: false
                ).count
                Issue.record("\(file.path):\(line): `\(text[range])`: \(ban.reason)")
            }
        }
    }

    private func everything() throws -> [SourceFile] {
        let tree = SourceTree()
        return try tree.files(in: "Sources", extensions: ["swift", "h"])
            + tree.files(in: "Tests", extensions: ["swift", "py"])
            + tree.files(in: "scripts", extensions: ["", "py"])
    }
}
