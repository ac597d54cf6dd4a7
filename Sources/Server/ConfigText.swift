// The whole configuration as one text: the file with everything it includes in place, standard
// input, the options of the command line. Each line remembers where it came from, so that an error
// names the file and the line that the user wrote.
import Base
import CLinux
import Glibc

package struct ConfigText {
    package struct Origin: Equatable {
        package var file: String
        package var line: Int
        package init(file: String, line: Int) {
            self.file = file
            self.line = line
        }
    }

    /// Why the configuration cannot be read at all.
    package struct Failure: Error, Equatable {
        package var text: String
    }

    private static let maximumDepth = 16

    package private(set) var lines: [String] = []
    package private(set) var origins: [Origin] = []

    /// All lines, in the order in which they take effect.
    package var text: String { lines.joined(separator: "\n") }

    /// Where the line with this number (from 1) was written.
    package func origin(ofLine number: Int) -> Origin? {
        number >= 1 && number <= origins.count ? origins[number - 1] : nil
    }

    /// Reads what the command line names.
    package static func read(_ options: LaunchOptions) throws(Failure) -> ConfigText {
        var text = ConfigText()
        if let file = options.configFile { try text.add(file: file, depth: 0) }
        if options.readsStandardInput {
            do {
                let bytes = try Syscalls.contents(of: STDIN_FILENO, path: "standard input")
                try text.add(
                    String(decoding: bytes, as: UTF8.self),
                    from: "standard input",
                    depth: 0
                )
            } catch let error as SystemError {
                throw Failure(text: "Fatal error, can't read the configuration: \(error.text)")
            } catch let error as Failure {
                throw error
            } catch {
                unreachable("no other error is thrown")
            }
        }
        if !options.lines.isEmpty {
            try text.add(options.lines, from: "command line", depth: 0)
        }
        return text
    }

    /// A file, or all files that a pattern matches (which may be none).
    private mutating func add(file: String, depth: Int) throws(Failure) {
        guard depth < Self.maximumDepth else {
            throw Failure(text: "Fatal error, config files include each other: '\(file)'")
        }
        guard file.contains(where: { "*?[".contains($0) }) else {
            return try add(oneFile: file, depth: depth)
        }
        var found = glob_t()
        defer { globfree(&found) }
        guard glob(file, 0, nil, &found) == 0 else { return }
        for index in 0..<Int(found.gl_pathc) {
            guard let path = found.gl_pathv[index] else { continue }
            try add(oneFile: String(cString: path), depth: depth)
        }
    }

    private mutating func add(oneFile file: String, depth: Int) throws(Failure) {
        let bytes: [UInt8]?
        do {
            bytes = try Syscalls.contents(ofFile: file)
        } catch {
            throw Failure(
                text: "Fatal error, can't open config file '\(file)': \(error.reason)"
            )
        }
        guard let bytes else {
            throw Failure(
                text: "Fatal error, can't open config file '\(file)': \(errorText(ENOENT))"
            )
        }
        try add(String(decoding: bytes, as: UTF8.self), from: file, depth: depth)
    }

    private mutating func add(
        _ text: String,
        from file: String,
        depth: Int
    ) throws(Failure) {
        var rest = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
        if rest.last?.isEmpty == true { rest = rest.dropLast() }
        for (index, line) in rest.enumerated() {
            if let included = Self.included(line) {
                try add(file: included, depth: depth + 1)
                continue
            }
            lines.append(String(line))
            origins.append(Origin(file: file, line: index + 1))
        }
    }

    /// The file that an `include` line names.
    package static func included(_ line: Substring) -> String? {
        let words = line.split { " \t\r".contains($0) }
        guard words.count == 2, words[0].lowercased() == "include" else { return nil }
        var name = words[1]
        for quote in ["\"", "'"] where name.hasPrefix(quote) && name.hasSuffix(quote) {
            if name.count >= 2 { name = name.dropFirst().dropLast() }
        }
        return String(name)
    }
}
