"""A WHIP and WHEP server on aiortc, for tests: an implementation that shares nothing with ours.

Prints its port, serves on 127.0.0.1 until its standard input is closed.

    POST   /whip/{room}       publish; frames are decoded and counted
    POST   /whep/{room}       watch what is published there
    POST   /counter/{room}    watch, but by the server's offer (406)
    POST   /test              watch a test picture and a tone that the server makes
    POST   /private/{room}    publish with the token "open-sesame"
    POST   /redirect/{room}   307 to /whip/{room}
    POST   /loop              307 to itself
    POST   /refuse/{status}   refused with that status
    POST   /broken/{how}      201 with something that is no answer
    PATCH, DELETE /session/{id}
    GET    /stats             what has happened
"""

import asyncio
import itertools
import json
import sys

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer, MediaRelay
from aiortc.sdp import candidate_from_sdp

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
TOKEN = "open-sesame"

relay = MediaRelay()
ids = itertools.count(1)
sessions = {}
published = {}
stats = {"rooms": {}, "requests": [], "deleted": 0, "trickled": 0}
stats |= {"conflicts": 0, "counter_offers_answered": 0}


def problem(status, title, detail, **headers):
    body = json.dumps({"type": "about:blank", "title": title, "detail": detail, "status": status})
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        status=status, text=body, content_type="application/problem+json", headers=headers
    )


async def offered(request):
    if request.content_type != SDP:
        raise web.HTTPUnsupportedMediaType(text=f"send {SDP}")
    connection = RTCPeerConnection()
    await connection.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
    return connection


def remember(connection):
    number = str(next(ids))
    sessions[number] = connection
    return number


def created(number, connection):
    return web.Response(
        status=201,
        text=connection.localDescription.sdp,
        content_type=SDP,
        headers={
            "Location": f"/session/{number}",
            "ETag": f'"ice-{number}"',
            "Link": '<stun:stun.example.net>; rel="ice-server", '
            '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u"; '
            'credential="c,;\\"c"; credential-type="password"',
        },
    )


async def count(track, room):
    seen = stats["rooms"][room]
    try:
        while True:
            frame = await track.recv()
            seen[track.kind] += 1
            if track.kind == "video":
                seen["size"] = [frame.width, frame.height]
    except Exception:  # The publisher has left.
        seen["ended"] += 1


async def publish(request):
    room = request.match_info["room"]
    stats["requests"].append(dict(request.headers))
    connection = await offered(request)
    tracks = [t.receiver.track for t in connection.getTransceivers()]
    stats["rooms"][room] = {"audio": 0, "video": 0, "size": None, "ended": 0}
    for track in tracks:
        asyncio.ensure_future(count(relay.subscribe(track), room))
    await connection.setLocalDescription(await connection.createAnswer())
    published[room] = tracks
    return created(remember(connection), connection)


async def private(request):
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return problem(401, "Unauthorized", "That is no token of mine.")
    return await publish(request)


async def answer_with(request, tracks):
    connection = await offered(request)
    for track in tracks:
        if any(t.kind == track.kind for t in connection.getTransceivers()):
            connection.addTrack(track)
    for transceiver in connection.getTransceivers():
        transceiver.direction = "sendonly"
    await connection.setLocalDescription(await connection.createAnswer())
    return created(remember(connection), connection)


async def view(request):
    tracks = published.get(request.match_info["room"])
    if tracks is None:
        stats["conflicts"] += 1
        return problem(409, "Conflict", "Nobody publishes.", Retry_After="1")
    return await answer_with(request, [relay.subscribe(track) for track in tracks])


async def test(request):
    video = MediaPlayer("testsrc=size=320x240:rate=15", format="lavfi").video
    audio = MediaPlayer("sine=frequency=440:sample_rate=48000", format="lavfi").audio
    return await answer_with(request, [audio, video])


async def counter(request):
    await (await offered(request)).close()
    connection = RTCPeerConnection()
    for track in published[request.match_info["room"]]:
        connection.addTransceiver(relay.subscribe(track), direction="sendonly")
    await connection.setLocalDescription(await connection.createOffer())
    number = remember(connection)
    return web.Response(
        status=406,
        body=connection.localDescription.sdp.encode(),
        headers={
            "Content-Type": f'{SDP}; valid-until="Wed, 09 Oct 2030 10:00:00 GMT"',
            "Location": f"/session/{number}",
        },
    )


async def patch(request):
    number = request.match_info["number"]
    connection = sessions.get(number)
    if connection is None:
        return problem(404, "Not Found", "There is no such session.")
    body = await request.text()
    if request.content_type == SDP:
        await connection.setRemoteDescription(RTCSessionDescription(body, "answer"))
        stats["counter_offers_answered"] += 1
        return web.Response(status=204)
    if request.content_type != FRAGMENT:
        raise web.HTTPUnsupportedMediaType(text=f"send {FRAGMENT}")
    tag = request.headers.get("If-Match")
    if tag is None:
        return problem(428, "Precondition Required", "Which ICE session?")
    if tag != f'"ice-{number}"':
        return problem(412, "Precondition Failed", "That ICE session is over.")
    mid = None
    for line in body.splitlines():
        if line.startswith("a=mid:"):
            mid = line[6:]
        if line.startswith("a=candidate:"):
            candidate = candidate_from_sdp(line[12:])
            candidate.sdpMid = mid
            await connection.addIceCandidate(candidate)
            stats["trickled"] += 1
    return web.Response(status=204)


async def delete(request):
    connection = sessions.pop(request.match_info["number"], None)
    if connection is None:
        return problem(404, "Not Found", "There is no such session.")
    await connection.close()
    stats["deleted"] += 1
    return web.Response()


async def refuse(request):
    status = int(request.match_info["status"])
    if status == 404:
        return web.Response(status=404, text="no such stream\n")
    if status == 500:
        return web.Response(status=500, text="<html>oops</html>", content_type="text/html")
    return problem(status, "Refused", f"On purpose: {status}.")


async def redirect(request):
    raise web.HTTPTemporaryRedirect(f"../whip/{request.match_info['room']}")


async def loop(request):
    raise web.HTTPTemporaryRedirect("/loop")


async def broken(request):
    how = request.match_info["how"]
    connection = await offered(request)
    await connection.setLocalDescription(await connection.createAnswer())
    sdp = connection.localDescription.sdp
    number = remember(connection)
    location = {"Location": f"/session/{number}"}
    if how == "no-location":
        return web.Response(status=201, text=sdp, content_type=SDP)
    if how == "bad-location":
        return web.Response(
            status=201, text=sdp, content_type=SDP, headers={"Location": "http://[x"}
        )
    if how == "html":
        return web.Response(status=201, text=sdp, content_type="text/html", headers=location)
    if how == "200":
        return web.Response(status=200, text=sdp, content_type=SDP, headers=location)
    bodies = {
        "empty": "",
        "garbage": "v=0\r\nm=\r\na=\r\n\0\xff",
        "cut": sdp[: len(sdp) // 2],
        "headless": sdp[sdp.index("m=") :],
        "no-fingerprint": "".join(
            line for line in sdp.splitlines(True) if not line.startswith("a=fingerprint")
        ),
        "other-fingerprint": sdp.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:"),
        "rejected": rejected(sdp),
        "no-codec": sdp.replace(" VP8/90000", " H265/90000"),
        "swapped": sdp.replace("m=audio", "m=x").replace("m=video", "m=audio").replace("m=x", "m=video"),
    }
    return web.Response(status=201, text=bodies[how], content_type=SDP, headers=location)


def rejected(sdp):
    lines = sdp.splitlines(True)
    for index, line in enumerate(lines):
        if line.startswith("m=video "):
            words = line.split(" ")
            words[1] = "0"
            lines[index] = " ".join(words)
    return "".join(lines)


async def show(request):
    return web.json_response({**stats, "sessions": len(sessions)})


async def main():
    application = web.Application()
    application.add_routes(
        [
            web.post("/whip/{room}", publish),
            web.post("/whep/{room}", view),
            web.post("/counter/{room}", counter),
            web.post("/test", test),
            web.post("/private/{room}", private),
            web.post("/redirect/{room}", redirect),
            web.post("/loop", loop),
            web.post("/refuse/{status}", refuse),
            web.post("/broken/{how}", broken),
            web.patch("/session/{number}", patch),
            web.delete("/session/{number}", delete),
            web.get("/stats", show),
        ]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    # Ends with the test that started it, however that ends.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for connection in list(sessions.values()):
        await connection.close()
    await runner.cleanup()


asyncio.run(main())
