// How files, includes and options become one text, and how errors find their way back.
import Server
import Testing

private func read(_ file: String, lines: String = "") throws -> ConfigText {
    var options = LaunchOptions()
    options.configFile = file
    options.lines = lines
    return try ConfigText.read(options)
}

@Suite struct ConfigTextTests {
    @Test func optionsComeAfterTheFile() throws {
        let folder = Folder()
        let file = folder.write("m.conf", "port 1\n# remark\ndir /x\n")
        let text = try read(file, lines: "port \"2\" \nbind \"::1\" ")
        #expect(text.text == "port 1\n# remark\ndir /x\nport \"2\" \nbind \"::1\" ")
        #expect(text.origin(ofLine: 3) == ConfigText.Origin(file: file, line: 3))
        #expect(text.origin(ofLine: 5) == ConfigText.Origin(file: "command line", line: 2))
        #expect(text.origin(ofLine: 0) == nil)
        #expect(text.origin(ofLine: 6) == nil)
    }

    @Test func includesTakeTheirPlace() throws {
        let folder = Folder()
        let inner = folder.write("inner.conf", "port 2\nport 3\n")
        let outer = folder.write("m.conf", "port 1\n  Include \"\(inner)\"\nport 4")
        let text = try read(outer)
        #expect(text.lines == ["port 1", "port 2", "port 3", "port 4"])
        #expect(text.origin(ofLine: 3) == ConfigText.Origin(file: inner, line: 2))
        #expect(text.origin(ofLine: 4) == ConfigText.Origin(file: outer, line: 3))
    }

    @Test func patternsMayMatchNothing() throws {
        let folder = Folder()
        folder.write("a.part", "port 1\n")
        folder.write("b.part", "port 2\n")
        let outer = folder.write(
            "m.conf", "include \(folder.path)/*.part\ninclude \(folder.path)/*.none\n")
        #expect(try read(outer).lines == ["port 1", "port 2"])
    }

    @Test func aMissingFileIsNamed() {
        let folder = Folder()
        let failure = #expect(throws: ConfigText.Failure.self) {
            try read(folder / "none.conf")
        }
        #expect(
            failure?.text == "Fatal error, can't open config file '\(folder.path)/none.conf': "
                + "No such file or directory")
    }

    @Test func filesThatIncludeEachOtherAreRefused() {
        let folder = Folder()
        let file = folder.write("m.conf", "include \(folder.path)/m.conf\n")
        #expect(throws: ConfigText.Failure.self) { try read(file) }
    }

    @Test func aReportNamesFileAndLine() {
        let report = configReport(
            ConfigText.Origin(file: "/etc/m.conf", line: 7), line: "port x", reason: "no integer")
        #expect(report.hasPrefix("\n*** FATAL CONFIG FILE ERROR (Redis "))
        #expect(report.contains("Reading the configuration file, at line 7 (/etc/m.conf)\n"))
        #expect(report.hasSuffix(">>> 'port x'\nno integer\n"))
    }
}
