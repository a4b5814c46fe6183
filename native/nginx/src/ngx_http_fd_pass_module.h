
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
} ngx_http_fd_pass_loc_conf_t;


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
ngx_int_t ngx_http_fd_pass_init_process(ngx_cycle_t *cycle);
void ngx_http_fd_pass_handover(ngx_http_fd_pass_ctx_t *ctx);
void ngx_http_fd_pass_cleanup(void *data);
void ngx_http_fd_pass_close_peer(ngx_http_fd_pass_ctx_t *ctx,
    ngx_uint_t state);
void ngx_http_fd_pass_finish(ngx_http_fd_pass_ctx_t *ctx);

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
