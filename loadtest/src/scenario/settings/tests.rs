use super::*;

#[test]
fn every_key_of_a_file_is_read() {
    let settings = Settings::parse(
        "about = 'x'\nspawn = true\nserver_binary = 't'\nserver_cores = '0,2'\n\
         server_workers = 2\nserver_arg = ['--log', 'json']\nbot = 'wire'\nrooms = 2\n\
         publishers = 4\nsubscribers = 5\ntalkers = 1\ntiles = 6\nvideo = 'trace:10x100x1200'\n\
         audio = true\nroom = 'r'\nbind = '127.0.0.1'\nbot_cores = '1'\n\
         decrypt_share = 0.5\noracle_share = 0.25\nduration = '2m'\nramp = 5.5\n\
         join_timeout = '3s'\nstorm = 30\nstorm_rate = 100.0\nstorm_after = '4s'\n\
         churn = 1000\nchurn_alive = 20\nchurn_rate = 30.0\nchurn_idle = '6s'\nfloor = true\n\
         path = 'turn-tls'\non_path = 3\nstalled = 1\nserver_tls = true\n",
    );
    let scenario = settings.unwrap().scenario("name").unwrap();
    let expected = Scenario {
        name: "name".into(),
        bot: BotKind::Wire,
        url: ServerUrl::default(),
        protocol: Protocol::Native,
        token: None,
        rooms: 2,
        publishers: 4,
        subscribers: 5,
        talkers: Some(1),
        tiles: Some(6),
        video: "trace:10x100x1200".parse().unwrap(),
        audio: true,
        path: MediaPath::TurnTls,
        on_path: Some(3),
        stalled: 1,
        duration: Duration::from_secs(120),
        ramp: 5.5,
        join_timeout: Duration::from_secs(3),
        room: "r".into(),
        address: Some("127.0.0.1".parse().unwrap()),
        spawn: Some(Spawn {
            binary: Some("t".into()),
            cores: vec![0, 2],
            workers: Some(2),
            tls: true,
            arguments: vec!["--log".into(), "json".into()],
        }),
        server_pid: None,
        admin_url: None,
        bot_cores: vec![1],
        decrypt_share: 0.5,
        oracle_share: 0.25,
        phases: Phases {
            storm: Some(Storm {
                participants: 30,
                rate: 100.0,
                after: Duration::from_secs(4),
            }),
            churn: Some(Churn {
                joins: 1_000,
                alive: 20,
                rate: 30.0,
                idle: Duration::from_secs(6),
            }),
        },
        floor: true,
    };
    assert_eq!(format!("{scenario:?}"), format!("{expected:?}"));
    let other = Settings::parse("server_pid = 7\nadmin_url = 'http://a:1'\nurl = 'http://b:2'");
    let other = other.unwrap().scenario("").unwrap();
    assert_eq!(other.server_pid, Some(7));
    assert_eq!(other.admin_url.unwrap().to_string(), "http://a:1");
}

#[test]
fn a_file_that_is_wrong_is_told_where() {
    for (text, complaint) in [
        ("publisher = 3", "unknown field `publisher`"),
        ("rooms = -1", "rooms"),
        ("rooms = 'two'", "rooms"),
        ("\nvideo = '4k'", "line 2"),
        ("video = '4k'", "is none of none, 180p"),
        ("duration = 'soon'", "is none of ms, s, m, h"),
        ("duration = 20", "duration"),
        ("bot = 'human'", "`webrtc` or `wire`"),
        ("server_cores = 'x'", "is no list of cores"),
        ("[storm]", "storm"),
        ("url", "line 1"),
    ] {
        let error = Settings::parse(text).unwrap_err();
        assert!(error.contains(complaint), "{text}: {error}");
    }
}

#[test]
fn contradictions_are_refused() {
    for (text, complaint) in [
        ("rooms = 0", "--rooms"),
        (
            "publishers = 0\nsubscribers = 0",
            "--publishers or --subscribers",
        ),
        ("video = 'none'", "--video or --audio"),
        ("talkers = 4", "--talkers"),
        ("video = '720p-h264'", "--bot wire"),
        ("tiles = 6", "--bot wire"),
        ("path = 'tcp'", "--bot wire"),
        ("bot = 'wire'\non_path = 2", "--path other than udp"),
        ("bot = 'wire'\nstalled = 1", "--path other than udp"),
        (
            "bot = 'wire'\npath = 'tcp'\nsubscribers = 5\non_path = 2\nstalled = 3",
            "--stalled",
        ),
        ("server_tls = true", "--spawn"),
        ("server_cores = '0'", "--spawn"),
        ("spawn = true\nurl = 'http://a:1'", "--url"),
        ("spawn = true\nserver_pid = 1", "--server-pid"),
        ("ramp = 0.0", "--ramp"),
        ("oracle_share = 1.5", "share"),
    ] {
        let error = Settings::parse(text).unwrap().scenario("").unwrap_err();
        assert!(error.contains(complaint), "{text}: {error}");
    }
    for text in [
        "publishers = 0\nvideo = 'none'",
        "publishers = 0\nsubscribers = 0\nchurn = 10",
        "publishers = 0\nsubscribers = 0\nstorm = 10",
    ] {
        Settings::parse(text).unwrap().scenario("").unwrap();
    }
}

#[test]
fn the_first_wins_and_the_rest_stays() {
    let file = Settings::parse("about = 'x'\nrooms = 2\naudio = true\nchurn = 5").unwrap();
    let flags = Settings::parse("rooms = 3\naudio = false").unwrap();
    let both = flags.over(file);
    assert_eq!(
        (both.rooms, both.audio, both.churn),
        (Some(3), Some(false), Some(5))
    );
}

#[test]
fn durations() {
    for (text, millis) in [
        ("500ms", 500),
        ("20s", 20_000),
        ("1.5m", 90_000),
        ("1h", 3_600_000),
        ("7", 7_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "1d", "1.2.3s", "-3s", "99999999999999999999h"] {
        assert!(duration(text).is_err(), "{text}");
    }
}
