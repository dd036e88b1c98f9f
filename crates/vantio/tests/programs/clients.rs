//! Network clients of six kinds, against servers of the host that the policy permits.

use std::time::{Duration, Instant};

use crate::{
    common::{WORKSPACE, World, finish, server::Http, which},
    permitting, same, toolchain,
};

/// Writes the clients' sources; URL stands for the address to ask.
fn sources(url: &str, needs_go: bool) -> impl Fn(&World) {
    let with_url = |text: &str| {
        text.replace("URL", url).replace("ADDRESS", url.trim_start_matches("http://").trim_end_matches('/'))
    };
    let files = [
        ("client.py", with_url(PYTHON)),
        ("requests_client.py", with_url(REQUESTS)),
        ("client.mjs", with_url(NODE)),
        ("client.go", with_url(GO)),
        ("Client.java", with_url(JAVA)),
        ("client.rs", with_url(RUST)),
    ];
    move |world| {
        for (name, text) in &files {
            world.write(name, text);
        }
        if needs_go {
            compile_go(world);
        }
    }
}

/// Compiles on the host: the client is what is tested, and its library takes long to build.
fn compile_go(world: &World) {
    let cache = world.path().parent().unwrap().join("go-cache");
    let mut go = world.command(which("go"));
    go.args(["build", "-o", "go_client", "client.go"]).env("GOCACHE", cache).env("GOTOOLCHAIN", "local");
    finish(go.env("GOFLAGS", "-mod=mod")).assert_success();
}

const PYTHON: &str = r#"
import asyncio, urllib.request

def fetch(path):
    with urllib.request.urlopen("URL" + path, timeout=20) as response:
        return response.read().decode().strip()

async def raw(path):
    host, port = "ADDRESS".split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    writer.write_eof()
    return (await reader.read()).decode().splitlines()[-1]

async def many():
    return await asyncio.gather(*(raw(f"async{number}") for number in range(20)))

print(fetch("urllib"))
print(asyncio.run(many()))
"#;

const REQUESTS: &str = r#"
from concurrent.futures import ThreadPoolExecutor
from pip._vendor import requests

session = requests.Session()
print(session.get("URL" + "one", timeout=20).text, session.get("URL" + "two", timeout=20).status_code)
with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(lambda number: requests.get(f"URL{number}", timeout=20).text, range(16))))
"#;

const NODE: &str = r#"
const texts = await Promise.all([...Array(20).keys()].map(async (n) => (await fetch(`URL${n}`)).text()));
console.log(texts.join(""));
const http = await import("node:http");
http.get("URLplain", (response) => response.on("data", (data) => console.log(String(data), response.statusCode)));
"#;

const GO: &str = r#"
package main

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

func main() {
	answers := make([]string, 20)
	var group sync.WaitGroup
	for number := range answers {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			response, err := http.Get(fmt.Sprintf("URL%d", number))
			if err != nil {
				answers[number] = "error"
				return
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			answers[number] = string(body)
		}(number)
	}
	group.Wait()
	fmt.Println(answers)
}
"#;

const JAVA: &str = r#"
import java.net.URI;
import java.net.http.*;
import java.util.stream.*;

public class Client {
  public static void main(String[] arguments) throws Exception {
    HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    var answers = IntStream.range(0, 10)
        .mapToObj(n -> HttpRequest.newBuilder(URI.create("URL" + n)).build())
        .map(request -> client.sendAsync(request, HttpResponse.BodyHandlers.ofString()))
        .collect(Collectors.toList());
    for (var answer : answers) System.out.print(answer.get().body());
    try (var socket = new java.net.Socket(URI.create("URL").getHost(), URI.create("URL").getPort())) {
      System.out.println(socket.isConnected());
    }
  }
}
"#;

const RUST: &str = r#"
use std::{io::{Read, Write}, net::{Shutdown, TcpStream}, thread, time::Duration};

fn main() {
    let threads: Vec<_> = (0..10).map(|number| thread::spawn(move || {
        let mut stream = TcpStream::connect("ADDRESS").unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET /{number} HTTP/1.0\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().last().unwrap().to_owned()
    })).collect();
    for thread in threads { println!("{}", thread.join().unwrap()); }
    println!("{:?}", TcpStream::connect_timeout(&"ADDRESS".parse().unwrap(), Duration::from_secs(9)).unwrap().nodelay());
}
"#;

/// Runs a client bare and governed with its server permitted; the server must have been asked both times.
#[track_caller]
fn reaches(script: &str) {
    let server = Http::start();
    let script = script.replace("URL", &server.url("/"));
    same(
        sources(&server.url("/"), script.contains("go_client")),
        &permitting(&[server.address.to_string()]),
        &script,
    );
    let requests = server.requests().len();
    assert!(requests >= 2 && requests.is_multiple_of(2), "{:?}", server.requests());
}

#[test]
fn curl() {
    reaches(
        "curl -sS URLone; curl -sS URLtwo URLthree; curl -sS --parallel --parallel-max 4 URLa -o a URLb -o b; cat a b; curl -sS -I URLhead | head -n 1; seq 10000 | curl -sS --data-binary @- URLpost; curl -sS -w '%{http_code}\n' -o /dev/null --connect-timeout 9 URLlast",
    );
}

#[test]
fn python_urllib_and_asyncio() {
    reaches("/usr/bin/python3 client.py");
}

#[test]
fn python_requests() {
    reaches("/usr/bin/python3 -m venv venv && venv/bin/python -B requests_client.py");
}

#[test]
fn node_fetch() {
    reaches("node client.mjs");
}

#[test]
fn go_net_http() {
    reaches("./go_client");
}

#[test]
fn java_http_client() {
    reaches("java -XX:TieredStopAtLevel=1 Client.java");
}

#[test]
fn rust_std() {
    reaches(&format!("{}/bin/rustc -o client client.rs && ./client", toolchain()));
}

#[test]
fn a_refused_connection_is_told_promptly_to_every_client() {
    let world = World::new();
    sources("http://198.51.100.7:80/", true)(&world);
    for script in [
        "curl -sS http://198.51.100.7/",
        "/usr/bin/python3 client.py",
        "node client.mjs",
        "java -XX:TieredStopAtLevel=1 Client.java",
        "./go_client | grep -q error && exit 1",
    ] {
        let start = Instant::now();
        let outcome = world.run(WORKSPACE, &["/bin/bash", "-o", "pipefail", "-c", script]);
        assert_ne!(outcome.code(), 0, "{script}: {}", outcome.describe());
        assert!(start.elapsed() < Duration::from_mins(1), "{script} took {:?}", start.elapsed());
        world.assert_refused("net.connect", "198.51.100.7:80");
    }
}

#[test]
fn clients_and_servers_of_one_run_meet_on_its_loopback() {
    let script = r"
/usr/bin/python3 -u -m http.server 8765 --bind 127.0.0.1 > server.log 2>&1 &
for i in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:8765/ && break; sleep 0.05; done
echo content > page; curl -sS http://127.0.0.1:8765/page; curl -sS http://localhost:8765/page; kill %1; wait 2>/dev/null; rm server.log";
    same(|_| (), WORKSPACE, script);
}
