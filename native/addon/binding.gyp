{
  "targets": [
    {
      "target_name": "fdpass_native",
      "sources": [
        "src/account_ids.cc",
        "src/addon.cc",
        "src/addon_facts.cc",
        "src/addon_sockets.cc",
        "src/ancillary.cc",
        "src/answer.cc",
        "src/arguments.cc",
        "src/batch.cc",
        "src/descriptor_room.cc",
        "src/directory_lock.cc",
        "src/environment.cc",
        "src/fd_listener.cc",
        "src/fd_listener_class.cc",
        "src/fd_listener_control.cc",
        "src/fd_poller_class.cc",
        "src/fd_poller.cc",
        "src/fd_registry.cc",
        "src/ingress.cc",
        "src/js_callback.cc",
        "src/link_events.cc",
        "src/parking_lot_class.cc",
        "src/parking_lot.cc",
        "src/pending_connections.cc",
        "src/sendfile_job.cc",
        "src/socket_bytes.cc",
        "src/socket_facts.cc",
        "src/socket_options.cc",
        "src/system_error.cc",
        "src/tcp_socket.cc",
        "src/tls_records.cc",
        "src/unix_socket.cc"
      ],
      "defines": ["NAPI_VERSION=8", "_GNU_SOURCE"],
      "cflags": ["-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"],
      "cflags_cc!": ["-std=gnu++20", "-std=gnu++17"],
      "cflags_cc": ["-std=c++17", "-fvisibility-inlines-hidden"],
      # Our instances of standard templates are ours: Node.js exports its own, made with other flags.
      "ldflags": ["-Wl,-Bsymbolic"]
    }
  ]
}
