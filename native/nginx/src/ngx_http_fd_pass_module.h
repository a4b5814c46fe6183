
/*
 * What the parts of the fd_pass module share.  The protocol is described in docs/protocol.md.
 */


#ifndef _NGX_HTTP_FD_PASS_MODULE_H_INCLUDED_
#define _NGX_HTTP_FD_PASS_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* what a receiver takes behind the netstring, see docs/protocol.md, Limits */
#define NGX_HTTP_FD_PASS_MAX_EARLY_BYTES  65536

/* one TLS record */
#define NGX_HTTP_FD_PASS_RELAY_BUFFER     16384

/* a backend's answer to a message, see docs/protocol.md, Version 1 */
#define NGX_HTTP_FD_PASS_ACK_TAKEN        0x06
#define NGX_HTTP_FD_PASS_ACK_KEPT         0x16
#define NGX_HTTP_FD_PASS_ACK_REFUSED      0x15


typedef enum {
    NGX_HTTP_FD_PASS_NONE = 0,
    NGX_HTTP_FD_PASS_FULL,
    NGX_HTTP_FD_PASS_PARTIAL
} ngx_http_fd_pass_kind_e;


typedef enum {
    NGX_HTTP_FD_PASS_IDLE = 0,       /* no backend at the moment */
    NGX_HTTP_FD_PASS_SENDING,
    NGX_HTTP_FD_PASS_AWAITING,       /* all is sent, no acknowledgement yet */
    NGX_HTTP_FD_PASS_RELAYING,       /* partial: decrypting for the backend */
    NGX_HTTP_FD_PASS_DONE            /* handed over, nothing left to do here */
} ngx_http_fd_pass_state_e;


/* what came of a message that was sent to a backend */
typedef enum {
    NGX_HTTP_FD_PASS_PENDING = 0,
    NGX_HTTP_FD_PASS_TAKEN,
    NGX_HTTP_FD_PASS_REFUSED,
    NGX_HTTP_FD_PASS_CLOSED,         /* without a word */
    NGX_HTTP_FD_PASS_LOST,           /* the channel has ended, the backend need not have seen the message */
    NGX_HTTP_FD_PASS_SILENT,
    NGX_HTTP_FD_PASS_RUBBISH,
    NGX_HTTP_FD_PASS_UNWATCHED,
    NGX_HTTP_FD_PASS_CROWDED,        /* nothing was sent: too many descriptors wait in sockets */
    NGX_HTTP_FD_PASS_WORKER_ENDS
} ngx_http_fd_pass_outcome_e;


typedef struct ngx_http_fd_pass_backend_s  ngx_http_fd_pass_backend_t;
typedef struct ngx_http_fd_pass_channel_s  ngx_http_fd_pass_channel_t;


/* fd_pass_param */
typedef struct {
    ngx_str_t                        name;
    ngx_http_complex_value_t         value;
    unsigned                         if_not_empty:1;
} ngx_http_fd_pass_param_t;


/* fd_pass_fallback, to be looked for when all locations are known */
typedef struct {
    ngx_str_t                        name;
    ngx_http_core_srv_conf_t        *server;
    u_char                          *file;
    ngx_uint_t                       line;
} ngx_http_fd_pass_fallback_t;


/* fd_pass with an upstream, to be looked at when its servers are known */
typedef struct {
    ngx_http_upstream_srv_conf_t    *upstream;
    u_char                          *file;
    ngx_uint_t                       line;
} ngx_http_fd_pass_target_t;


typedef struct {
    ngx_array_t                      fallbacks;
    ngx_array_t                      targets;
    ngx_int_t                        remote_addr_index;
    ngx_int_t                        remote_port_index;
    ngx_int_t                        server_addr_index;
    ngx_int_t                        server_port_index;
    ngx_int_t                        server_name_index;
    ngx_int_t                        scheme_index;
} ngx_http_fd_pass_main_conf_t;


typedef struct {
    /* one of the two */
    ngx_http_upstream_srv_conf_t    *upstream;
    ngx_http_complex_value_t        *target;

    ngx_str_t                        fallback;
    ngx_array_t                     *params;
    ngx_msec_t                       send_timeout;
    ngx_uint_t                       next_tries;
    ngx_msec_t                       next_timeout;
    ngx_msec_t                       idle_timeout;

    /* how many channels, for how long, for how much */
    ngx_uint_t                       keepalive;
    ngx_msec_t                       keepalive_timeout;
    ngx_uint_t                       keepalive_handovers;
} ngx_http_fd_pass_loc_conf_t;


/* an address, and the channels to it that share their settings */
struct ngx_http_fd_pass_backend_s {
    ngx_queue_t                      queue;

    ngx_sockaddr_t                   sockaddr;
    socklen_t                        socklen;
    ngx_msec_t                       send_timeout;
    ngx_msec_t                       idle_timeout;
    ngx_uint_t                       max_handovers;

    /* all that live, also those without a slot */
    ngx_uint_t                       channels;

    ngx_uint_t                       turn;
    ngx_uint_t                       size;
    ngx_http_fd_pass_channel_t      *slots[1];
};


/* lives in a pool of its own, uc->pool, and longer than any request */
struct ngx_http_fd_pass_channel_s {
    ngx_connection_t                *connection;
    ngx_http_fd_pass_backend_t      *backend;

    /* contexts by their place: sent and not answered, in this order; and with an outcome that they were not told yet */
    ngx_queue_t                      waiting;
    ngx_queue_t                      answered;

    ngx_uint_t                       handovers;
    ngx_msec_t                       idle_since;

    /* the socket took less than the last message */
    unsigned                         blocked:1;

    /* no further message: the backend closes it, or this side does when it is idle */
    unsigned                         retired:1;

    /* the answers cannot be made out any more */
    unsigned                         broken:1;

    /* nothing waits: all have an outcome */
    unsigned                         ended:1;
};


typedef struct {
    ngx_http_request_t              *request;
    ngx_http_fd_pass_loc_conf_t     *conf;

    /* what it will be, and what it became: the latter is for the log */
    ngx_http_fd_pass_kind_e          kind;
    ngx_http_fd_pass_kind_e          handover;

    ngx_http_fd_pass_state_e         state;

    /* netstring and early bytes; the descriptor goes with the first part */
    ngx_buf_t                       *message;
    unsigned                         descriptor_sent:1;

    /* the message says that the connection may be kept */
    unsigned                         keepalive:1;

    /* NULL: a connection of its own, r->upstream->peer.connection */
    ngx_http_fd_pass_channel_t      *channel;
    ngx_queue_t                      place;
    ngx_http_fd_pass_outcome_e       outcome;
    ngx_msec_t                       deadline;

    /* this side reads nothing more of the backend's, and the acknowledgement came all the same */
    unsigned                         gave_up:1;

    /* a backend has refused the client; then all are asked twice */
    unsigned                         refused:1;
    unsigned                         asked_again:1;

    /* a backend that did not take the client may still have a copy of it */
    unsigned                         copy_left:1;

    /* the descriptor of the request's connection is not the client any more */
    unsigned                         detached:1;

    /* partial: the client's bytes on their way to the backend */
    ngx_buf_t                       *relay;
    unsigned                         client_eof:1;
    unsigned                         eof_sent:1;

    /* the names of the backends that were tried, ", " between them */
    ngx_str_t                        tried;
    ngx_msec_t                       start;
    ngx_msec_t                       elapsed;
} ngx_http_fd_pass_ctx_t;


/* whose place in a channel it is */
#define ngx_http_fd_pass_placed(q)                                            \
    (ngx_queue_data(q, ngx_http_fd_pass_ctx_t, place))

#define ngx_http_fd_pass_is_due(deadline)                                     \
    ((ngx_msec_int_t) ((deadline) - ngx_current_msec) <= 0)


/* _target.c: which backend */
char *ngx_http_fd_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_fd_pass_check_targets(ngx_conf_t *cf);
ngx_int_t ngx_http_fd_pass_init_peer(ngx_http_fd_pass_ctx_t *ctx);

/* _handler.c: whether the client can be handed over, and what if not */
ngx_int_t ngx_http_fd_pass_handler(ngx_http_request_t *r);
void ngx_http_fd_pass_decline(ngx_http_fd_pass_ctx_t *ctx, ngx_int_t status,
    const char *reason);

/* _message.c: what the backend is told */
char *ngx_http_fd_pass_param(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_fd_pass_message_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_fd_pass_create_message(ngx_http_fd_pass_ctx_t *ctx);

/* _handover.c: from one backend to the next until one has taken the client */
void ngx_http_fd_pass_handover(ngx_http_fd_pass_ctx_t *ctx);
void ngx_http_fd_pass_settle(ngx_http_fd_pass_ctx_t *ctx,
    ngx_http_fd_pass_outcome_e outcome);
void ngx_http_fd_pass_cleanup(void *data);
void ngx_http_fd_pass_close_peer(ngx_http_fd_pass_ctx_t *ctx,
    ngx_uint_t state);
void ngx_http_fd_pass_finish(ngx_http_fd_pass_ctx_t *ctx);

/* _connection.c: a UNIX connection for one handover */
ngx_int_t ngx_http_fd_pass_connect(ngx_http_fd_pass_ctx_t *ctx);
void ngx_http_fd_pass_start_sending(ngx_http_fd_pass_ctx_t *ctx);
ngx_uint_t ngx_http_fd_pass_give_up(ngx_http_fd_pass_ctx_t *ctx);

/* _channel.c: a UNIX connection for one handover after the other */
void ngx_http_fd_pass_keep(ngx_http_fd_pass_ctx_t *ctx);
ngx_int_t ngx_http_fd_pass_channel_send(ngx_http_fd_pass_channel_t *ch,
    ngx_http_fd_pass_ctx_t *ctx);
ngx_uint_t ngx_http_fd_pass_channel_give_up(ngx_http_fd_pass_ctx_t *ctx);

/* _answers.c: which message on a channel an answer is for */
void ngx_http_fd_pass_channel_answer(ngx_http_fd_pass_channel_t *ch,
    u_char answer);
void ngx_http_fd_pass_channel_end(ngx_http_fd_pass_channel_t *ch,
    ngx_uint_t timedout);
void ngx_http_fd_pass_channel_tell(ngx_http_fd_pass_channel_t *ch);

/* _backends.c: which channels are open, and whose turn it is */
void ngx_http_fd_pass_init_backends(void);
ngx_int_t ngx_http_fd_pass_use_channel(ngx_http_fd_pass_ctx_t *ctx);
ngx_int_t ngx_http_fd_pass_add_channel(ngx_http_fd_pass_ctx_t *ctx,
    ngx_http_fd_pass_channel_t *ch);
void ngx_http_fd_pass_retire_channel(ngx_http_fd_pass_channel_t *ch);
void ngx_http_fd_pass_remove_channel(ngx_http_fd_pass_channel_t *ch);

/* _send.c: a message, and the descriptor beside its first byte */
ngx_int_t ngx_http_fd_pass_send_message(ngx_http_fd_pass_ctx_t *ctx,
    ngx_connection_t *uc);

/* _client.c: the end of this process's copy of the client */
ngx_int_t ngx_http_fd_pass_init_process(ngx_cycle_t *cycle);
void ngx_http_fd_pass_detach(ngx_http_fd_pass_ctx_t *ctx);
void ngx_http_fd_pass_end_copy(ngx_http_fd_pass_ctx_t *ctx);

/* _relay.c: a partial handover after the acknowledgement */
void ngx_http_fd_pass_start_relay(ngx_http_fd_pass_ctx_t *ctx);
void ngx_http_fd_pass_relay_backend_event(ngx_http_fd_pass_ctx_t *ctx,
    ngx_event_t *ev);

/* _tls.c: what only TLS has */
#if (NGX_HTTP_SSL)
ngx_int_t ngx_http_fd_pass_tls_kind(ngx_http_fd_pass_ctx_t *ctx,
    const char **reason);
ngx_int_t ngx_http_fd_pass_mute_tls(ngx_connection_t *c);
#endif

/* _variables.c: $fd_pass_handover and the others */
ngx_int_t ngx_http_fd_pass_add_variables(ngx_conf_t *cf);
ngx_http_fd_pass_ctx_t *ngx_http_fd_pass_create_ctx(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_fd_pass_module;


#endif /* _NGX_HTTP_FD_PASS_MODULE_H_INCLUDED_ */
