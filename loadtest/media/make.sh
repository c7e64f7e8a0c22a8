#!/bin/sh
# Regenerates the clips the bots publish. Needs ffmpeg with libvpx, libx264 and libopus.
#
# Video: four seconds of VP8 at 30 frames per second, a keyframe every two seconds and nowhere
# else, so that a bot answers a keyframe request by jumping to the next one. No hidden (altref)
# frames: every frame in the file is shown, so timestamps advance by one frame each. Intra frames
# are capped (-max-intra-rate, percent of a frame's average budget) to keep keyframe bursts small.
# H.264: as the VP8 clips, Constrained Baseline, parameter sets in front of every keyframe, one
# slice a picture, as an Annex B byte stream.
# Audio: four seconds of 20 ms Opus frames, tones under a syllable-like envelope.
set -eu
cd "$(dirname "$0")"

video() {
    name=$1 size=$2 rate=$3
    ffmpeg -hide_banner -loglevel error -y \
        -f lavfi -i "testsrc2=size=$size:rate=30:duration=4" -pix_fmt yuv420p \
        -c:v libvpx -b:v "$rate" -minrate "$rate" -maxrate "$rate" -bufsize "$rate" \
        -g 60 -keyint_min 60 -auto-alt-ref 0 -lag-in-frames 0 -error-resilient 1 \
        -max-intra-rate 900 -deadline good -cpu-used 2 -threads 1 \
        -fflags +bitexact -flags:v +bitexact "$name.ivf"
}

video 180p 320x180 120k
video 360p 640x360 400k
video 720p 1280x720 1200k

ffmpeg -hide_banner -loglevel error -y \
    -f lavfi -i "testsrc2=size=1280x720:rate=30:duration=4" -pix_fmt yuv420p \
    -c:v libx264 -profile:v baseline -preset medium -tune zerolatency -b:v 1200k -maxrate 1200k \
    -bufsize 1200k -g 60 -keyint_min 60 -sc_threshold 0 -threads 1 \
    -x264-params "sliced-threads=0:slices=1:repeat-headers=1:aud=0" \
    -bsf:v "filter_units=remove_types=6" -fflags +bitexact -flags:v +bitexact -f h264 720p.h264

ffmpeg -hide_banner -loglevel error -y \
    -f lavfi -i "aevalsrc=(0.35*sin(2*PI*180*t)+0.2*sin(2*PI*360*t)+0.1*sin(2*PI*1260*t))*(0.55+0.45*sin(2*PI*4*t)):s=48000:d=4" \
    -ac 1 -c:a libopus -b:a 32k -vbr off -application voip -frame_duration 20 -page_duration 20000 \
    -fflags +bitexact -flags:a +bitexact tones.ogg
