package main

import "github.com/gorilla/websocket"

// echo is the loop of gorilla's own example.
func echo(conn *websocket.Conn) {
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err = conn.WriteMessage(kind, data); err != nil {
			return
		}
	}
}
