// The command line of redis-server: a configuration file, directives as `--name value`, `-` for
// more configuration on standard input, and the few words that print something and end. Options
// become lines of configuration that are read after the file, so that the last value wins.
import Base
import Engine

/// What the process was asked to do.
package enum LaunchRequest: Equatable {
    case run(LaunchOptions)
    /// Print `text` and end.
    case say(String, toStandardError: Bool, code: Int32)
    case checkSystem
    /// Examine files and end.
    case check(CheckRequest)
}

package struct LaunchOptions: Equatable {
    /// As given; nil when there is none.
    package var configFile: String?
    package var readsStandardInput = false
    /// The options as lines of a configuration file.
    package var lines: String = ""
    /// There were arguments at all.
    package var hasArguments = false
    /// By the program's name, or by `--sentinel`.
    package var isSentinel = false

    package init() {}

    /// Reads the arguments, the program's name first.
    package static func parse(_ arguments: [String]) -> LaunchRequest {
        let program = arguments.first ?? "martlet-server"
        let words = Array(arguments.dropFirst())
        if let request = CheckRequest.parse(program: program, words) { return .check(request) }
        switch words.first {
        case "-v", "--version":
            return .say(versionLine, toStandardError: false, code: 0)
        case "-h", "--help":
            return .say(usage, toStandardError: true, code: 1)
        case "--test-memory":
            return .say(
                "This server has no memory test: use a tool such as memtester.\n",
                toStandardError: true,
                code: 1
            )
        case "--check-system":
            return .checkSystem
        default:
            var found = options(words.filter { $0.lowercased() != "--sentinel" })
            found.hasArguments = !words.isEmpty
            found.isSentinel = isSentinel(program, words)
            return .run(found)
        }
    }

    private static func isSentinel(_ program: String, _ words: [String]) -> Bool {
        let name = program.split(separator: "/").last ?? ""
        return name.contains("redis-sentinel") || name.contains("martlet-sentinel")
            || words.contains("--sentinel")
    }

    private static func options(_ words: [String]) -> LaunchOptions {
        var found = LaunchOptions()
        found.hasArguments = !words.isEmpty
        var first = 0
        if let file = words.first, !file.hasPrefix("-") {
            found.configFile = file
            first = 1
        }
        // An option begins only where the one before it has a value: `--port --bla` is a value.
        var hasValue = true
        for index in first..<max(first, words.count) {
            let word = words[index]
            let isLast = index == words.count - 1
            if word == "-", index == 0 || isLast {
                found.readsStandardInput = true
            } else if hasValue, word.hasPrefix("--") {
                if !found.lines.isEmpty { found.lines += "\n" }
                found.lines += word.dropFirst(2) + " "
                let isBare = !word.contains { $0 == " " || $0 == "\t" }
                hasValue = !isBare
                let followed = isLast || words[index + 1].hasPrefix("--")
                if isBare, word.lowercased() == "--save", followed {
                    // From before lists were quoted: no value means no save points.
                    found.lines += "\"\""
                    hasValue = true
                }
            } else {
                found.lines += quoted(word) + " "
                hasValue = true
            }
        }
        return found
    }

    /// A word as a configuration line quotes it.
    package static func quoted(_ word: String) -> String {
        var out = "\""
        for byte in word.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): out += "\\\\"
            case UInt8(ascii: "\""): out += "\\\""
            case UInt8(ascii: "\n"): out += "\\n"
            case UInt8(ascii: "\r"): out += "\\r"
            case UInt8(ascii: "\t"): out += "\\t"
            case 7: out += "\\a"
            case 8: out += "\\b"
            case 32..<127: out.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = Array("0123456789abcdef")
                out += "\\x\(digits[Int(byte / 16)])\(digits[Int(byte % 16)])"
            }
        }
        return out + "\""
    }

    private static var versionLine: String {
        "Redis server v=\(Product.redisVersion) sha=00000000:0 malloc=libc bits=64 build=martlet\n"
    }

    private static var usage: String {
        """
        Usage: martlet-server [/path/to/redis.conf] [options] [-]
               martlet-server - (read config from stdin)
               martlet-server -v or --version
               martlet-server -h or --help
               martlet-server --check-system
               martlet-server --check [--json] <rdb, aof or manifest>...
               martlet-server --repair [--json] <aof or manifest>...

        Examples:
               martlet-server (run the server with default conf)
               echo 'maxmemory 128mb' | martlet-server -
               martlet-server /etc/redis/6379.conf
               martlet-server --port 7777
               martlet-server --port 7777 --replicaof 127.0.0.1 8888
               martlet-server /etc/myredis.conf --loglevel verbose -
               martlet-server --port 7001 --cluster-enabled yes

        Sentinel mode:
               martlet-server /etc/sentinel.conf --sentinel
               martlet-sentinel /etc/sentinel.conf

        """
    }
}
