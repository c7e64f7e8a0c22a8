"""A bot, written from ../PROTOCOL.md alone. It sends and receives sound, pictures, chat and data.

    pip install aiortc websockets && python bot.py ws://127.0.0.1:8080/v1/ws ROOM NAME

It says each line of its standard input (terminal or pipe) in the chat and as data. At the end of input it leaves.
It prints JSON lines: all messages of the server, what its data channel does, and every 25th frame of each m-line.
A server that asks for an access token takes it in the message `join`: add `token=TOKEN` to it in `main`, without `Bearer`.
aiortc cannot offer RIDs, so the bot sends no simulcast: its picture has one encoding, known by its SSRC.
"""
import asyncio, contextlib, itertools, json, sys
import aiortc, websockets

async def send(socket, ids=itertools.count(1), **message):
    await socket.send(json.dumps({"id": next(ids), **message}))

def show(**event):
    print(json.dumps(event), flush=True)

async def offer(socket, pc, audio=0, video=0):
    for kind in ["audio"] * audio + ["video"] * video:
        pc.addTransceiver(kind, direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    microphone, camera = (t.mid for t in pc.getTransceivers() if t.direction == "sendonly")
    tracks = [{"mid": microphone, "source": "microphone"}, {"mid": camera, "source": "camera"}]
    await send(socket, type="offer", sdp=pc.localDescription.sdp, tracks=tracks)

async def watch(pc, track):
    mid = next(t.mid for t in pc.getTransceivers() if t.receiver.track is track)
    with contextlib.suppress(aiortc.MediaStreamError):  # It ends with the peer connection.
        for count in itertools.count(1):
            await track.recv()
            if count % 25 == 0:
                show(type="frames", mid=mid, count=count)

async def talk(socket, channel):
    show(type="open", label=channel.label)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async for line in lines:
        await send(socket, type="chat", text=line.decode().strip())
        channel.send(line.decode().strip())
    await send(socket, type="leave")

async def main(url, room, name):
    one_transport = aiortc.RTCConfiguration(iceServers=[], bundlePolicy=aiortc.RTCBundlePolicy.MAX_BUNDLE)
    pc = aiortc.RTCPeerConnection(one_transport)
    pc.on("track", lambda track: asyncio.ensure_future(watch(pc, track)))
    async with websockets.connect(url) as socket:
        await send(socket, type="join", version=1, room=room, name=name)
        async for text in socket:  # Until the server closes it, after `bye`.
            print(text, flush=True)
            match json.loads(text):
                case {"type": "welcome", "data": {"protocol": protocol}}:
                    pc.addTransceiver(aiortc.AudioStreamTrack(), direction="sendonly")
                    pc.addTransceiver(aiortc.VideoStreamTrack(), direction="sendonly")
                    channel = pc.createDataChannel("reliable", protocol=protocol)
                    channel.on("open", lambda: asyncio.ensure_future(talk(socket, channel)))
                    channel.on("message", lambda data: show(type="data", data=str(data)))
                    await offer(socket, pc)
                case {"type": "answer", "sdp": sdp, "needs": {"audio": audio, "video": video}}:
                    await pc.setRemoteDescription(aiortc.RTCSessionDescription(sdp, "answer"))
                    if audio or video:
                        await offer(socket, pc, audio, video)
                case {"type": "needs", "audio": audio, "video": video} if pc.signalingState == "stable":
                    await offer(socket, pc, audio, video)  # Else the answer that is under way repeats it.
                case {"type": "error", "id": _} | {"type": "media", "state": "failed"}:
                    sys.exit(text)  # Something was refused, or the transport is gone.
    await pc.close()

asyncio.run(main(*sys.argv[1:]))
