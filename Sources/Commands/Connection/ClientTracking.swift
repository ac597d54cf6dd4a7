// CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: the server's help for clients that keep a
// cache of their own.
import Base
import Engine
import RESP

/// The words after CLIENT TRACKING ON or OFF.
private struct TrackingRequest {
    var options: TrackingOptions = []
    var redirect: UInt64 = 0
    var prefixes: [[UInt8]] = []
}

func clientTracking(_ call: Call) {
    guard let request = trackingRequestOrReply(call) else { return }
    if call[2].matches("off") {
        call.executor.disableTracking(call.session)
        return call.reply.ok()
    }
    guard call[2].matches("on") else { return call.reply.error(.syntax) }
    guard mayTrack(call, request), prefixesAreApart(call, request.prefixes) else { return }
    call.executor.enableTracking(
        call.session, request.options, redirect: request.redirect, prefixes: request.prefixes)
    call.reply.ok()
}

private func trackingRequestOrReply(_ call: Call) -> TrackingRequest? {
    var request = TrackingRequest()
    var index = 3
    while index < call.count {
        let word = call[index]
        let hasValue = index + 1 < call.count
        if word.matches("redirect"), hasValue {
            index += 1
            guard let target = redirectOrReply(call, index, request.redirect) else { return nil }
            request.redirect = target
        } else if word.matches("bcast") {
            request.options.insert(.broadcast)
        } else if word.matches("optin") {
            request.options.insert(.optIn)
        } else if word.matches("optout") {
            request.options.insert(.optOut)
        } else if word.matches("noloop") {
            request.options.insert(.noLoop)
        } else if word.matches("prefix"), hasValue {
            index += 1
            request.prefixes.append(call[index].array)
        } else {
            call.reply.error(.syntax)
            return nil
        }
        index += 1
    }
    return request
}

private func redirectOrReply(_ call: Call, _ index: Int, _ before: UInt64) -> UInt64? {
    guard before == 0 else {
        call.reply.error("ERR A client can only redirect to a single other client")
        return nil
    }
    guard let id = call.integerOrReply(index) else { return nil }
    let target = UInt64(bitPattern: id)
    guard call.executor.pointee.sessions.find(id: target) != nil else {
        call.reply.error("ERR The client ID you want redirect to does not exist")
        return nil
    }
    return target
}

/// Whether the options agree with each other and with what is in force; else answers.
private func mayTrack(_ call: Call, _ request: TrackingRequest) -> Bool {
    let options = request.options
    let old = call.session.pointee.tracking?.pointee.options
    var reason: ErrorReply?
    if !options.contains(.broadcast), !request.prefixes.isEmpty {
        reason = ErrorReply("ERR PREFIX option requires BCAST mode to be enabled")
    } else if let old, old.contains(.broadcast) != options.contains(.broadcast) {
        reason = ErrorReply(
            """
            ERR You can't switch BCAST mode on/off before disabling tracking for this client, and \
            then re-enabling it with a different mode.
            """)
    } else if options.contains(.broadcast), !options.isDisjoint(with: [.optIn, .optOut]) {
        reason = ErrorReply("ERR OPTIN and OPTOUT are not compatible with BCAST")
    } else if options.isSuperset(of: [.optIn, .optOut]) {
        reason = ErrorReply("ERR You can't specify both OPTIN mode and OPTOUT mode")
    } else if let old,
        options.contains(.optIn) && old.contains(.optOut)
            || options.contains(.optOut) && old.contains(.optIn)
    {
        reason = ErrorReply(
            """
            ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and \
            then re-enabling it with a different mode.
            """)
    }
    if let reason { call.reply.error(reason) }
    return reason == nil
}

/// Whether no prefix is the beginning of another, given or in force; else answers.
private func prefixesAreApart(_ call: Call, _ prefixes: [[UInt8]]) -> Bool {
    let old = call.session.pointee.tracking?.pointee.prefixes ?? []
    for (index, prefix) in prefixes.enumerated() {
        let existing = old.first { overlap($0, prefix) }
        let given = prefixes[(index + 1)...].first { overlap($0, prefix) }
        guard let other = existing ?? given else { continue }
        let kind = existing != nil ? "an existing" : "another provided"
        var text = Array("ERR Prefix '".utf8) + prefix
        text += Array("' overlaps with \(kind) prefix '".utf8) + other
        text += Array("'. Prefixes for a single client must not overlap.".utf8)
        call.reply.error(text)
        return false
    }
    return true
}

private func overlap(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    zip(a, b).allSatisfy { $0 == $1 }
}

func clientCaching(_ call: Call) {
    guard let options = call.session.pointee.tracking?.pointee.options else {
        return call.reply.error(
            """
            ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
            or OPTOUT mode enabled
            """ as StaticString)
    }
    if call[2].matches("yes") {
        guard options.contains(.optIn) else {
            return call.reply.error(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
        }
    } else if call[2].matches("no") {
        guard options.contains(.optOut) else {
            return call.reply.error(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
        }
    } else {
        return call.reply.error(.syntax)
    }
    call.executor.setCaching(call.session)
    call.reply.ok()
}

/// The client that invalidations are redirected to: 0 for none, -1 without tracking.
func redirection(of session: UnsafeMutablePointer<Session>) -> Int64 {
    session.pointee.tracking.map { Int64(bitPattern: $0.pointee.redirect) } ?? -1
}

func clientGetRedirection(_ call: Call) { call.reply.integer(redirection(of: call.session)) }

func clientTrackingInfo(_ call: Call) {
    let state = call.session.pointee.tracking?.pointee
    var flags: [StaticString] = [state == nil ? "off" : "on"]
    if let options = state?.options {
        if options.contains(.broadcast) { flags.append("bcast") }
        if options.contains(.optIn) {
            flags.append("optin")
            if options.contains(.caching) { flags.append("caching-yes") }
        }
        if options.contains(.optOut) {
            flags.append("optout")
            if options.contains(.caching) { flags.append("caching-no") }
        }
        if options.contains(.noLoop) { flags.append("noloop") }
        if options.contains(.brokenRedirect) { flags.append("broken_redirect") }
    }
    let prefixes = (state?.prefixes ?? []).sorted { $0.lexicographicallyPrecedes($1) }
    call.reply.map(3)
    call.reply.bulk("flags")
    call.reply.set(flags.count)
    for flag in flags { call.reply.bulk(flag) }
    call.reply.bulk("redirect")
    call.reply.integer(redirection(of: call.session))
    call.reply.bulk("prefixes")
    call.reply.array(prefixes.count)
    for prefix in prefixes { call.reply.bulk(prefix) }
}
