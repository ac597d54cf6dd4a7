// Users as they are written down: the `user` lines of a configuration and the ACL file. A file is
// taken as a whole or not at all, and all that is wrong in it is told, by line.
import Base

extension ExecutorPointer {
    /// Puts the users of an ACL file in force; nil, or what is wrong with it.
    public func loadUsers(file contents: [UInt8], path: String) -> [UInt8]? {
        var reader = AccessFileReader(path: path)
        let lines = contents.split(separator: 10, omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            reader.take(Array(line), number: index + 1, pointee.access)
        }
        guard reader.errors.isEmpty else {
            return reader.errors
                + Array(
                    ("WARNING: ACL errors detected, no change to the previously active ACL rules "
                        + "was performed").utf8)
        }
        replaceUsers(reader.users)
        return nil
    }

    /// Makes the users of a configuration's `user` lines; lines for the log, and whether that
    /// failed.
    public func loadUsers(_ lines: [[[UInt8]]]) -> (log: [String], failed: Bool) {
        var log: [String] = []
        for line in lines {
            guard let name = line.first else { continue }
            let shown = String(decoding: name, as: UTF8.self)
            if AccessWords.hasSpaces(name) {
                return (log + ["Spaces not allowed in ACL usernames"], true)
            }
            var next = pointee.access.pointee.newDefinition
            if name == AccessControl.defaultName { next.sanitize = .done }
            // What is not closed was refused when the line was read.
            let words = (try? AccessWords.merged(Array(line.dropFirst())).get()) ?? []
            for word in words {
                do throws(AccessProblem) {
                    try pointee.access.pointee.apply(word, to: &next)
                } catch {
                    let rule = String(decoding: word, as: UTF8.self)
                    log.append(
                        "Error loading ACL rule '\(rule)' for the user named '\(shown)': "
                            + error.text)
                    return (log, true)
                }
            }
            pointee.access.pointee.set(name, next)
            if !next.isOn {
                log.append(
                    "The user '\(shown)' is disabled (there is no 'on' modifier in the user "
                        + "description). Make sure this is not a configuration error.")
            }
        }
        return (log, false)
    }
}

/// Reads an ACL file line by line.
private struct AccessFileReader {
    let path: String
    private(set) var users: [(name: [UInt8], definition: AccessDefinition)] = []
    private(set) var errors: [UInt8] = []

    init(path: String) { self.path = path }

    mutating func take(
        _ raw: [UInt8], number: Int, _ access: UnsafeMutablePointer<AccessControl>
    ) {
        let line = AccessFileReader.trimmed(raw, Array(" \t\r\n".utf8))
        if line.isEmpty { return }
        let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            .map { Array($0) }
        guard words[0] == Array("user".utf8), words.count >= 2 else {
            return say(
                "\(path):\(number) should start with user keyword followed by the username. ")
        }
        let name = words[1]
        guard !AccessWords.hasSpaces(name) else {
            return say("'\(path):\(number): username '", name, "' contains invalid characters. ")
        }
        guard !users.contains(where: { $0.name == name }) else {
            return say("WARNING: Duplicate user '", name, "' found on line \(number). ")
        }
        var next = access.pointee.newDefinition
        switch AccessWords.merged(Array(words.dropFirst(2))) {
        case .failure: say("\(path):\(number): Unmatched parenthesis in selector definition.")
        case .success(let rules): apply(rules, to: &next, number, access)
        }
        users.append((name, next))
    }

    /// Every unknown command is told; of what else is wrong only the first, which may be the cause
    /// of the rest.
    private mutating func apply(
        _ rules: [[UInt8]], to next: inout AccessDefinition, _ number: Int,
        _ access: UnsafeMutablePointer<AccessControl>
    ) {
        var isTold = false
        for raw in rules {
            let rule = AccessFileReader.trimmed(raw, Array("\t\r\n".utf8))
            do throws(AccessProblem) {
                try access.pointee.apply(rule, to: &next)
            } catch .unknownCommand {
                say(
                    "\(path):\(number): Error in applying operation '", rule,
                    "': \(AccessProblem.unknownCommand.text). ")
            } catch {
                if !isTold { say("\(path):\(number): \(error.text). ") }
                isTold = true
            }
        }
    }

    private mutating func say(_ before: String, _ word: [UInt8] = [], _ after: String = "") {
        errors += Array(before.utf8) + word + Array(after.utf8)
    }

    private static func trimmed(_ line: [UInt8], _ blanks: [UInt8]) -> [UInt8] {
        var rest = line[...]
        while let first = rest.first, blanks.contains(first) { rest.removeFirst() }
        while let last = rest.last, blanks.contains(last) { rest.removeLast() }
        return Array(rest)
    }
}
