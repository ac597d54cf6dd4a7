// The command line's rules, as users of redis-server know them.
import Server
import Testing

private func lines(_ words: String...) -> String? {
    guard case .run(let options) = LaunchOptions.parse(["martlet-server"] + words) else {
        return nil
    }
    return options.lines
}

private func options(_ words: String...) -> LaunchOptions? {
    guard case .run(let options) = LaunchOptions.parse(["martlet-server"] + words) else {
        return nil
    }
    return options
}

@Suite struct LaunchOptionsTests {
    @Test func nothingAtAll() {
        #expect(options()?.configFile == nil)
        #expect(options()?.hasArguments == false)
        #expect(lines() == "")
    }

    @Test func aFileThenDirectives() {
        let found = options("/etc/m.conf", "--port", "7001", "--bind", "127.0.0.1", "::1")
        #expect(found?.configFile == "/etc/m.conf")
        #expect(found?.lines == "port \"7001\" \nbind \"127.0.0.1\" \"::1\" ")
    }

    @Test func aWordAfterTheFileIsADirective() {
        #expect(lines("m.conf", "loglevel", "verbose") == "\"loglevel\" \"verbose\" ")
    }

    @Test func aValueMayLookLikeAnOption() {
        #expect(
            lines("--port", "--bla", "--loglevel", "verbose")
                == "port \"--bla\" \nloglevel \"verbose\" ")
        #expect(lines("--replicaof", "--x", "6379") == "replicaof \"--x\" \"6379\" ")
    }

    @Test func nameAndValueInOneArgument() {
        #expect(lines("--port 7001", "--dir", "/x") == "port 7001 \ndir \"/x\" ")
    }

    @Test func saveWithoutAValueMeansNone() {
        #expect(lines("--save") == "save \"\"")
        #expect(lines("--save", "--port", "1") == "save \"\"\nport \"1\" ")
        #expect(lines("--save", "") == "save \"\" ")
        #expect(lines("--save", "100", "100") == "save \"100\" \"100\" ")
    }

    @Test func standardInputFirstOrLast() {
        #expect(options("-")?.readsStandardInput == true)
        #expect(options("-")?.configFile == nil)
        #expect(options("m.conf", "--port", "1", "-")?.readsStandardInput == true)
        #expect(options("m.conf", "--logfile", "-", "--port", "1")?.readsStandardInput == false)
        #expect(lines("--logfile", "-", "--port", "1") == "logfile \"-\" \nport \"1\" ")
    }

    @Test func quotesAndControlCharactersSurvive() {
        #expect(LaunchOptions.quoted("a\"b\\c\n\u{7}é") == "\"a\\\"b\\\\c\\n\\a\\xc3\\xa9\"")
    }

    @Test func wordsThatPrintAndEnd() {
        guard case .say(let version, false, 0) = LaunchOptions.parse(["x", "--version"]) else {
            Issue.record("--version prints to standard output and succeeds")
            return
        }
        // RLTest reads the three numbers between these marks.
        let number = version.split(separator: "v=")[1].split(separator: " sha=")[0]
        #expect(number.split(separator: ".").count == 3)
        guard case .say(_, true, 1) = LaunchOptions.parse(["x", "-h"]) else {
            Issue.record("--help goes to standard error with status 1")
            return
        }
        #expect(LaunchOptions.parse(["x", "--check-system"]) == .checkSystem)
    }

    @Test(arguments: [["redis-sentinel", "s.conf"], ["x", "s.conf", "--sentinel"]])
    func sentinelModeIsKnownByNameOrOption(_ arguments: [String]) {
        guard case .run(let options) = LaunchOptions.parse(arguments) else {
            Issue.record("no sentinel was started")
            return
        }
        #expect(options.isSentinel && options.configFile == "s.conf" && options.lines.isEmpty)
    }
}
