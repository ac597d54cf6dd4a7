// Scripts in process: conversions, the sandbox, what is propagated, functions through a dump.
import Base
import Commands
import Engine
import Scripting
import Testing

/// A harness whose engine has scripts.
private final class ScriptWorld {
    let harness = CommandHarness(CoreCommands.extensions + [.scripting])

    init() { ScriptEnginePointer.install(on: harness.executor) }
    deinit { ScriptEnginePointer.remove(from: harness.executor) }
}

@Suite struct ScriptTests {
    private let world = ScriptWorld()
    private var harness: CommandHarness { world.harness }

    private func eval(_ script: String, _ words: String...) -> Reply {
        harness.run(["EVAL", script, "\(words.count)"] + words)
    }

    @Test func valuesBecomeReplies() {
        #expect(eval("return {1, 2.9, 'x', true, {}, {ok='fine'}}") == [
            1, 2, "x", 1, [], .simple("fine"),
        ])
        #expect(eval("return false") == .null)
        #expect(eval("return {1, nil, 3}") == [1])
        #expect(eval("return redis.error_reply('BAD thing')") == .error("BAD thing"))
        #expect(eval("return KEYS", "a", "b") == ["a", "b"])
    }

    @Test func repliesBecomeValues() {
        harness.run("RPUSH", "l", "1", "2")
        #expect(eval("return redis.call('lrange', KEYS[1], 0, -1)[2]", "l") == "2")
        #expect(eval("return redis.call('get', 'none') == false") == 1)
        #expect(eval("return redis.call('set', 'k', 1).ok") == "OK")
        #expect(eval("return redis.pcall('incr', 'l').err").text?.hasPrefix("WRONGTYPE") == true)
    }

    @Test func errorsSayWhere() {
        let digest = "2c3cb51c37ce10235956c8cae25540d4822a5607"
        #expect(
            eval("return xx")
                == .error(
                    "ERR user_script:1: Script attempted to access nonexistent global variable "
                        + "'xx' script: \(digest), on @user_script:1."))
    }

    @Test(
        arguments: [
            "x = 1", "redis.call = 1", "string.x = 1", "rawset(_G, 'x', 1)",
            "setmetatable(_G, {})", "table.insert(redis, 1)", "getmetatable(_G).x = 1",
            "getmetatable('').x = 1", "local t = getmetatable('').__index t.x = 1",
            "_G._G.x = 1",
        ])
    func nothingStaysBehind(_ script: String) {
        #expect(eval(script).text?.contains("Attempt to modify a readonly table") == true)
        #expect(eval("return rawget(_G, 'x')") == .null)
        #expect(eval("return string.x") == .null)
    }

    @Test(arguments: ["os", "io", "debug", "require", "loadfile", "print", "newproxy", "setfenv"])
    func thereIsNoWayOut(_ name: String) {
        #expect(eval("return type(rawget(_G, '\(name)'))") == "nil")
    }

    @Test func compiledChunksAreRefused() {
        #expect(
            eval("return loadstring(string.dump(loadstring('return 1')))").isError
                || eval("return loadstring(string.dump(loadstring('return 1'))) == nil") == 1)
    }

    @Test func blockingCommandsDoNotWait() {
        let read = eval("return redis.call('xread', 'block', 0, 'streams', 'none', '$')")
        #expect(read.text?.contains("not allowed with BLOCK option from scripts") == true)
        for call in ["'blpop', 'none', 0", "'subscribe', 'c'"] {
            let reply = eval("return redis.call(\(call))")
            #expect(reply.text?.contains("not allowed from script") == true)
        }
    }

    /// What a flag says of a command decides how it is checked: two flags must not be one.
    @Test func onlyScriptsAreScripts() {
        #expect(CommandFlags.brief.isDisjoint(with: .runsScript))
        #expect(CommandFlags.unlisted.isDisjoint(with: [.brief, .runsScript]))
    }

    @Test func scriptsEndAsOneTransaction() {
        harness.executor.pointee.feedsBacklog = true
        let offset = harness.executor.pointee.backlog.pointee.endOffset
        _ = eval("redis.call('set', 'a', 1) redis.call('incr', 'a')")
        let commands = harness.stream(from: offset).filter { $0[0] != "SELECT" }
        #expect(commands == [["MULTI"], ["set", "a", "1"], ["incr", "a"], ["EXEC"]])
    }

    @Test func readOnlyScripts() {
        let script = "return redis.call('set', 'k', 1)"
        #expect(harness.run("EVAL_RO", script, "0").isError)
        #expect(eval("#!lua flags=no-writes\n" + script).isError)
        #expect(harness.run("EXISTS", "k") == 0)
    }

    @Test func functions() {
        let library = "#!lua name=lib\nredis.register_function('add', "
            + "function(keys, args) return args[1] + args[2] end)"
        #expect(harness.run("FUNCTION", "LOAD", library) == "lib")
        #expect(harness.run("FCALL", "ADD", "0", "1", "2") == 3)
        #expect(harness.run("FUNCTION", "LOAD", library) == .error(
            "ERR Library 'lib' already exists"))
        #expect(harness.run("FUNCTION", "LIST").elements.count == 1)
        #expect(harness.run("FUNCTION", "DELETE", "lib") == .ok)
        #expect(harness.run("FCALL", "add", "0") == .error("ERR Function not found"))
    }
}
